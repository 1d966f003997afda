"""What decides whether models run here: interpreters, runtimes, delegate libraries, device nodes, permissions."""

import getpass
import grp
import importlib.util
import os
import platform
import shutil
import subprocess
import sys
from typing import Any, BinaryIO, Dict, List, Optional

from . import runtime
from .delegates import read_elf
from .events import Emit, Request, Result
from .gauges import survey
from .machine import describe, read_disk
from .sensors import entries, read_int
from .sensors.cpufreq import POLICIES
from .sensors.thermal import read_temperatures

LIBRARY_FOLDERS = ("/usr/local/lib", "/usr/lib", "/lib", "/usr/lib64", "/lib64", "/vendor/lib64", "/system/lib64")
"""Where a loader looks that keeps no cache of its own; Debian's folder of the architecture comes before them."""
IMPORT_S = 60.0
PROGRAM_S = 10.0


def doctor(request: Request, _stdin: BinaryIO, _emit: Emit) -> Result:
    """The ``doctor`` command.

    request: ``root`` (edgekit's folder on the device), ``libraries`` (delegate libraries to look for: names or paths),
    ``nodes`` (device nodes that a delegate opens). Changes nothing.
    """
    return examine(str(request["root"]), request.get("libraries", ()), request.get("nodes", ()))


def examine(root: str, libraries: Any, nodes: Any) -> Result:
    """See ``doctor``. Whatever is not there is None or empty."""
    return dict(
        describe(),
        bits=64 if sys.maxsize > 2**32 else 32,
        implementation=platform.python_implementation(),
        runtimes=find_runtimes(),
        numpy=runtime.version_of("numpy"),
        libraries={name: find_library(name) for name in libraries},
        nodes={path: read_node(path) for path in nodes},
        temperatures_c=read_temperatures("/", slow=True),
        user=_user(),
        groups=sorted({_group(number) for number in [os.getgid(), *os.getgroups()]}),
        root=read_folder(root),
        disk=read_disk(root),
        governor=read_governor_access(),
        **survey(),
    )


def find_runtimes() -> List[Dict[str, Any]]:
    """``name``, ``version`` and ``error`` (None: it can be imported) of the runtimes, up to the first that works."""
    found: List[Dict[str, Any]] = []
    for distribution, module in runtime.RUNTIMES:
        if importlib.util.find_spec(module.partition(".")[0]) is None:
            continue
        found.append(
            {"name": distribution, "version": runtime.version_of(distribution), "error": _import_error(module)}
        )
        if found[-1]["error"] is None:
            break  # the agent uses this one; to import TensorFlow as well would take long
    return found


def _import_error(module: str) -> Optional[str]:
    """Import it in a process of its own, since a wheel for another CPU dies of SIGILL."""
    command = [sys.executable, "-c", "import importlib; importlib.import_module(%r).Interpreter" % module]
    try:
        done = subprocess.run(
            command,
            check=False,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            timeout=IMPORT_S,
        )
    except subprocess.TimeoutExpired:
        return "importing it took more than %d s" % IMPORT_S
    if done.returncode < 0:
        return "importing it was ended by signal %d" % -done.returncode
    said = done.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2][:300]
    return (said or "importing it failed") if done.returncode else None


def find_library(name: str) -> Optional[Dict[str, Any]]:
    """Where the loader finds a library: ``path``, ``real_path``, ``machine`` (None: no ELF file) and its ``package``.

    ``package`` is the version of the Debian package; None where it finds no library.
    """
    path = _locate(name)
    if path is None:
        return None
    elf, real = read_elf(path), os.path.realpath(path)
    return {
        "path": path,
        "real_path": real,
        "machine": elf.machine if elf else None,
        "package": _package_version(real),
    }


def _locate(name: str) -> Optional[str]:
    if os.sep in name:
        path = os.path.expanduser(name)
        return path if os.path.isfile(path) else None
    folders = [folder for folder in os.environ.get("LD_LIBRARY_PATH", "").split(os.pathsep) if folder]
    found = [os.path.join(folder, name) for folder in folders] + _cached_libraries(name)
    found += [os.path.join("/usr/lib/%s-linux-gnu" % platform.machine(), name)]
    found += [os.path.join(folder, name) for folder in LIBRARY_FOLDERS]
    return next((path for path in found if os.path.isfile(path)), None)


def _cached_libraries(name: str) -> List[str]:
    """What ld.so's cache has under this name."""
    ldconfig = shutil.which("ldconfig", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if ldconfig is None:
        return []
    lines = (line.split() for line in _said([ldconfig, "-p"]).splitlines())
    return [words[-1] for words in lines if words and words[0] == name]


def _said(command: List[str]) -> str:
    """What a program prints; nothing where it cannot be run or hangs."""
    try:
        done = subprocess.run(
            command, check=False, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, timeout=PROGRAM_S
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.decode("utf-8", "replace")


def _package_version(path: str) -> Optional[str]:
    """Version of the Debian package that owns a file: of a delegate library it may tell what it was built for."""
    if shutil.which("dpkg-query") is None:
        return None
    owner = _said(["dpkg-query", "--search", path]).partition(":")[0]
    return _said(["dpkg-query", "--show", "--showformat=${Version}", owner]).strip() or None if owner else None


def read_node(path: str) -> Optional[Dict[str, Any]]:
    """``group``, and whether this user may read and write the device node; None where there is none."""
    try:
        status = os.stat(path)
    except OSError:
        return None
    return {"group": _group(status.st_gid), "usable": os.access(path, os.R_OK | os.W_OK)}


def read_folder(path: str) -> Dict[str, Any]:
    """Whether edgekit's folder, or the nearest one above it that exists, can be written, and programs run from it."""
    path = os.path.abspath(os.path.expanduser(path))
    there = path
    while not os.path.isdir(there):
        there = os.path.dirname(there)
    runs = not os.statvfs(there).f_flag & os.ST_NOEXEC
    return {"path": path, "writable": os.access(there, os.W_OK | os.X_OK), "executable": runs}


def read_governor_access(root: str = "/") -> Optional[bool]:
    """Whether this user may set the CPU governor; None where there is no cpufreq."""
    policies = entries(root, POLICIES, "policy")
    if not policies or read_int(root, os.path.join(POLICIES, policies[0], "scaling_max_freq")) is None:
        return None
    return os.access(os.path.join(root, POLICIES, policies[0], "scaling_governor"), os.W_OK)


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError, ImportError):
        return "uid %d" % os.getuid()


def _group(number: int) -> str:
    try:
        return grp.getgrgid(number).gr_name
    except KeyError:
        return str(number)
