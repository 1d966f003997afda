"""A TFLite runtime for the device: unpacked from wheels the host sends, proven, and only then current.

ROOT/runtime/<digest>/              a virtual environment without pip
ROOT/runtime/current -> <digest>    the one in use: its bin/python runs the agent
"""

import hashlib
import importlib.util
import json
import os
import platform
import shutil
import subprocess
import sys
import zipfile
from typing import Any, BinaryIO, Dict

from .events import AgentError, Emit, Request, Result
from .host import Host
from .layout import CHUNK, SHA256, Place, explained

SPARE_BYTES = 16 * 1024 * 1024
"""What must stay free on the disk of the device."""
PROOF_S = 120
"""How long the first import may take on a slow card."""


def setup_probe(request: Request, _stdin: BinaryIO, _emit: Emit) -> Result:
    """What decides which wheels fit, and which runtime is current."""
    libc, version = platform.libc_ver()
    return {
        "python": list(sys.version_info[:3]),
        "implementation": sys.implementation.name,
        "architecture": platform.machine(),
        "bits": 64 if sys.maxsize > 2**32 else 32,
        "libc": libc,
        "libc_version": version,
        "numpy": importlib.util.find_spec("numpy") is not None,
        "current": _current(_folder(request)),
    }


def setup(request: Request, stdin: BinaryIO, emit: Emit) -> Result:
    """Install the runtime ``digest`` and make it current.

    request: ``root``, ``digest`` (sha256), ``wheels`` ([{name, sha256, bytes}]), ``unpacked_bytes``,
    ``system_packages`` (whether what is installed on the device is seen too).

    Emits ``need`` when the wheels are wanted (the host sends them, one after the other), ``unpacked`` after each,
    ``proving``. Returns ``changed`` and ``runtime`` ({name, version}); raises AgentError ``device`` (no space, no
    venv, the runtime cannot be imported) or ``integrity``.
    """
    folder, digest = _folder(request), str(request["digest"])
    if not SHA256.match(digest):
        raise AgentError("device", "%r is no digest." % digest, "This is a defect of edgekit; please report it.")
    host = Host(stdin, emit)
    target = os.path.join(folder, digest)
    with explained(Place(root=str(request["root"]), name="runtime")):
        fresh = not os.path.isdir(target)
        if fresh:
            _build(folder, target, request, host)
        host.emit("proving")
        try:
            found = _prove(target)
        except BaseException:
            if fresh:
                shutil.rmtree(target, ignore_errors=True)
            raise
        changed = fresh or _current(folder) != digest
        if changed:
            _switch(folder, digest)
        _remove_others(folder, digest)
    return {"changed": changed, "runtime": found}


def _folder(request: Request) -> str:
    return os.path.join(str(request["root"]), "runtime")


def _current(folder: str) -> Any:
    try:
        return os.readlink(os.path.join(folder, "current"))
    except OSError:
        return None


def _build(folder: str, target: str, request: Request, host: Host) -> None:
    """Everything in a folder of its own, which appears under its name when it is whole."""
    wheels = request["wheels"]
    os.makedirs(folder, exist_ok=True)
    state = os.statvfs(folder)
    needed = int(request["unpacked_bytes"]) + max(wheel["bytes"] for wheel in wheels) + SPARE_BYTES
    if state.f_bavail * state.f_frsize < needed:
        raise AgentError(
            "device",
            "The runtime needs %d MB below %s; %d MB are free."
            % (needed // 10**6, folder, state.f_bavail * state.f_frsize // 10**6),
            "Free some space there, or set `root` in the device's table to a larger disk.",
        )
    part = target + ".part"
    shutil.rmtree(part, ignore_errors=True)
    try:
        _make_environment(part, bool(request["system_packages"]))
        packages = os.path.join(part, "lib", "python%d.%d" % sys.version_info[:2], "site-packages")
        host.emit("need", wheels=[wheel["name"] for wheel in wheels])
        for wheel in wheels:
            path = os.path.join(part, "arriving.whl")
            _receive(wheel, path, host)
            unpack_wheel(path, packages)
            os.unlink(path)
            host.emit("unpacked", name=wheel["name"])
        os.rename(part, target)
    except BaseException:
        shutil.rmtree(part, ignore_errors=True)
        raise


def _make_environment(path: str, system_packages: bool) -> None:
    try:
        import venv
    except ImportError as err:
        raise AgentError(
            "device",
            "The device's Python (%s) comes without venv." % sys.executable,
            "Install it there (Debian: `sudo apt install python3-venv`), or name another `python` in its table.",
        ) from err
    venv.EnvBuilder(symlinks=True, with_pip=False, system_site_packages=system_packages).create(path)


def _receive(wheel: Dict[str, Any], path: str, host: Host) -> None:
    digest, missing = hashlib.sha256(), int(wheel["bytes"])
    with open(path, "wb") as stream:
        while missing:
            chunk = host.read(min(CHUNK, missing))
            digest.update(chunk)
            stream.write(chunk)
            missing -= len(chunk)
    if digest.hexdigest() != wheel["sha256"]:
        raise AgentError("integrity", "%s arrived damaged." % wheel["name"], "Run it again.")


def unpack_wheel(path: str, packages: str) -> None:
    """Unpack a wheel as pip would, without its scripts, headers and data files, which no import needs.

    Raises AgentError ``integrity`` for one that is damaged or wants to write elsewhere.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            for info in archive.infolist():
                name = _placed(info.filename)
                if name is None or info.is_dir():
                    continue
                target = os.path.join(packages, *name.split("/"))
                os.makedirs(os.path.dirname(target), exist_ok=True)
                with archive.open(info) as source, open(target, "wb") as stream:
                    shutil.copyfileobj(source, stream, CHUNK)
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as err:
        raise AgentError(
            "integrity", "%s is no wheel: %s." % (os.path.basename(path), err), "Remove ~/.cache/edgekit/wheels here."
        ) from err


def _placed(name: str) -> Any:
    """Path below site-packages, or None for what is left out; raises ValueError for one that leads out of it."""
    parts = name.rstrip("/").split("/")
    if name.startswith("/") or "\\" in name or any(part in ("", ".", "..") for part in parts):
        raise ValueError("%r leads out of its folder" % name)
    if not parts[0].endswith(".data"):
        return "/".join(parts)
    kind, inner = parts[1:2], parts[2:]
    return "/".join(inner) if inner and kind[0] in ("purelib", "platlib") else None


def _prove(target: str) -> Dict[str, str]:
    """Import the runtime with the new interpreter, which also leaves compiled files for later starts."""
    python = os.path.join(target, "bin", "python")
    code = (
        "import json, sys; sys.path.insert(0, sys.argv[1]); import numpy; from edgekit.agent import runtime; "
        "print(json.dumps(runtime.find_runtime()[:2]))"
    )
    agent = os.path.abspath(sys.argv[0])
    try:
        done = subprocess.run(
            [python, "-c", code, agent], stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=PROOF_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as err:
        raise _unproven(str(err)) from err
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise _unproven(said[-1] if said else "exit status %d" % done.returncode)
    name, version = json.loads(done.stdout.decode().splitlines()[-1])
    return {"name": name, "version": version}


def _unproven(cause: str) -> AgentError:
    return AgentError(
        "device",
        "The runtime was unpacked but cannot be imported on the device: %s." % cause.rstrip("."),
        "Nothing was changed. A system library may be missing there, or its processor is not supported.",
    )


def _switch(folder: str, digest: str) -> None:
    link = os.path.join(folder, "current")
    part = link + ".part"
    if os.path.lexists(part):
        os.unlink(part)
    os.symlink(digest, part)
    os.rename(part, link)


def _remove_others(folder: str, digest: str) -> None:
    for name in os.listdir(folder):
        if name not in ("current", digest):
            shutil.rmtree(os.path.join(folder, name), ignore_errors=True)
