"""External delegates: shared libraries that take ops of a TFLite model. What is wrong with one is said exactly."""

import ctypes
import os
import re
from typing import Any, Dict, Mapping, NamedTuple, Optional

CREATE = "tflite_plugin_create_delegate"
"""What makes a library an external delegate (tensorflow/lite/delegates/external/external_delegate.cc)."""
MACHINES = {3: "x86", 40: "armv7l", 62: "x86_64", 183: "aarch64", 243: "riscv64"}
"""``e_machine`` of an ELF header -> the name that `uname -m` has for it (ELF specification, EM_*)."""
MISSING = re.compile(r"^(?P<what>[^:\s]+): cannot open shared object file")
UNDEFINED = re.compile(r"undefined symbol: (?P<what>\S+)")
TOO_OLD = re.compile(r"version `(?P<what>[A-Za-z]+_[0-9.]+)' not found")
MAX_REASON = 400
"""Characters of what a loader or a runtime says."""


class DelegateRefused(Exception):
    """The delegate library cannot be loaded, or refuses its options or the model; ``hint`` is the next step."""

    def __init__(self, message: str, hint: str) -> None:
        Exception.__init__(self, message)
        self.hint = hint


class Elf(NamedTuple):
    """What the header of a program or library says."""

    bits: int
    machine: str


class _Symbol(ctypes.Structure):
    """``Dl_info`` of dladdr(3)."""

    _fields_ = [
        ("file", ctypes.c_char_p),
        ("base", ctypes.c_void_p),
        ("name", ctypes.c_char_p),
        ("address", ctypes.c_void_p),
    ]


def load_delegate(interpreter_module: Any, library: str, options: Mapping[str, str]) -> Any:
    """A delegate of the runtime ``interpreter_module`` from ``library``: a path, or a name that the loader looks for.

    Raises DelegateRefused, which tells a missing file, one for another processor, one that is no delegate, one that
    needs something missing, and one that refuses its options from each other. A library that crashes takes the
    process along.
    """
    handle = open_library(library)
    if not hasattr(handle, CREATE):
        raise DelegateRefused(
            "%s is no TFLite external delegate: it has no %s." % (library, CREATE),
            "Name the delegate's own library, such as libedgetpu.so.1 or libvx_delegate.so.",
        )
    try:
        return interpreter_module.load_delegate(library, dict(options))
    except (ValueError, OSError, RuntimeError, AttributeError) as err:
        raise _refused(library, options, str(err)) from err


def open_library(library: str) -> Any:
    """Load it as the runtime would; raises DelegateRefused."""
    is_path = os.sep in library
    if is_path and not os.path.exists(library):
        where = "" if os.path.isabs(library) else " (from %s)" % os.getcwd()
        raise DelegateRefused(
            "There is no file %s on the device%s." % (library, where),
            "Install the delegate's library there, or give its path with --delegate or `delegate` of the device.",
        )
    if is_path and not os.path.isfile(library):  # a named pipe would be waited for
        raise DelegateRefused("%s is no file on the device." % library, "Name the library itself.")
    if is_path:
        check_machine(library)
    try:
        return ctypes.PyDLL(library)
    except OSError as err:
        raise _explain(library, " ".join(str(err).split())[:MAX_REASON]) from err


def check_machine(path: str) -> None:
    """Raise DelegateRefused for a file that is no library, or one for another processor than ours."""
    found, own = read_elf(path), read_elf("/proc/self/exe")
    if found is None:
        raise DelegateRefused(
            "%s is no shared library: it has no ELF header." % path,
            "Name the library itself, no archive and no text that stands for it; copy it again if it was damaged.",
        )
    if own is not None and found != own:
        raise DelegateRefused(
            "The library %s is for %s (%d bit), Python on the device is %s (%d bit)."
            % (path, found.machine, found.bits, own.machine, own.bits),
            "Install the build of the delegate for %s." % own.machine,
        )


def read_elf(path: str) -> Optional[Elf]:
    """The ELF header's class and machine; None where there is none."""
    try:
        with open(path, "rb") as stream:
            head = stream.read(20)
    except OSError:
        return None
    if len(head) < 20 or head[:4] != b"\x7fELF" or head[4] not in (1, 2) or head[5] not in (1, 2):  # noqa: PLR2004
        return None
    number = int.from_bytes(head[18:20], "little" if head[5] == 1 else "big")
    return Elf(32 * head[4], MACHINES.get(number, "machine %d" % number))


def library_facts(library: str) -> Dict[str, Any]:
    """``path`` (the file the loader found, links resolved; None where it does not tell), ``bytes`` and ``version``.

    ``version``: what the library says of itself, None for most of them (``edgetpu_version`` of edgetpu_c.h). It must
    have been loaded before.
    """
    handle = ctypes.PyDLL(library)
    path = _loaded_from(getattr(handle, CREATE))
    version = None
    if hasattr(handle, "edgetpu_version"):
        handle.edgetpu_version.restype = ctypes.c_char_p
        version = (handle.edgetpu_version() or b"").decode("utf-8", "replace") or None
    return {"path": path, "bytes": None if path is None else os.path.getsize(path), "version": version}


def _loaded_from(function: Any) -> Optional[str]:
    found = _Symbol()
    try:
        dladdr = ctypes.CDLL(None).dladdr
    except (OSError, AttributeError):
        return None
    if not dladdr(ctypes.cast(function, ctypes.c_void_p), ctypes.byref(found)) or not found.file:
        return None
    path = os.path.realpath(os.fsdecode(found.file))
    return path if os.path.isfile(path) else None


def _explain(library: str, said: str) -> DelegateRefused:
    """dlopen(3) failed; what it said is text for people, the same in glibc for decades."""
    missing, undefined, old = MISSING.search(said), UNDEFINED.search(said), TOO_OLD.search(said)
    if missing and missing.group("what") == library and ".so" not in library and "/" not in library:
        return DelegateRefused(
            "%s is no library that a TFLite runtime loads." % library,
            "A model made for it runs in a firmware, an app or another runtime: `edgekit target show TARGET` says "
            "where. On this device measure the artifact's reference.tflite.",
        )
    if missing and missing.group("what") == library:
        return DelegateRefused(
            "The loader of the device finds no %s." % library,
            "Install the delegate there (`ldconfig -p` lists what the loader finds), or give the library's path.",
        )
    if missing:
        return DelegateRefused(
            "%s needs %s, which is not on the device." % (library, missing.group("what")),
            "Install the package that has it; `ldd %s` on the device shows everything it needs." % library,
        )
    if old:
        return DelegateRefused(
            "%s needs %s, and the device's is older (%s)." % (library, old.group("what"), said),
            "Install a build of the delegate for the device's own system, or a newer system.",
        )
    if undefined:
        return DelegateRefused(
            "%s needs the symbol %s, which nothing on the device has." % (library, undefined.group("what")),
            "It was built for another version of a library; `ldd -r %s` on the device shows which." % library,
        )
    return DelegateRefused(
        "The loader of the device refuses %s: %s." % (library, said.rstrip(".")),
        "Check the file and its permissions on the device.",
    )


def _refused(library: str, options: Mapping[str, str], said: str) -> DelegateRefused:
    lines = [line for line in said.splitlines() if line.strip() and not line.startswith("Failed to load delegate")]
    reason = " ".join(" ".join(lines).split())[:MAX_REASON]
    shown = ", ".join("%s=%s" % item for item in sorted(options.items()))
    given = " with the options %s" % shown if options else ""
    if not reason:
        return DelegateRefused(
            "%s gives no delegate%s, and does not say why." % (library, given),
            "Mostly its hardware is not there or not free: check that it is plugged in, its driver is loaded, the "
            "login user may use it, and no other program does.",
        )
    return DelegateRefused(
        "%s gives no delegate%s: %s" % (library, given, reason),
        "Check the delegate's options in its documentation and that its hardware is there."
        if options
        else "Check that its hardware is there, its driver is loaded, and the login user may use it.",
    )
