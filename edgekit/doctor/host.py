"""What this machine has of what edgekit needs: a table of checks, one function each."""

import platform
import shutil
from collections.abc import Callable, Iterator
from importlib import metadata

from packaging.requirements import Requirement

from edgekit.doctor.check import Check, judge
from edgekit.versions import version_of
from edgekit_converters.environments import TOOLS, Environment, inspect_environment, maker_for
from edgekit_converters.errors import SourceError
from edgekit_converters.interpreters import show_version

PACKAGES: tuple[tuple[str, str, str], ...] = (
    ("ai-edge-litert", "runs models on this machine", 'pip install "edgekit"'),
    ("ai-edge-quantizer", "quantizes", 'pip install "edgekit"'),
    ("tensorflow", "reads Keras and SavedModel", 'pip install "edgekit[keras]"'),
    ("tf-keras", "reads SavedModels that Keras 2 wrote", 'pip install "edgekit[keras]"'),
    ("torch", "reads PyTorch", 'pip install "edgekit[torch]"'),
    ("litert-torch", "converts PyTorch", 'pip install "edgekit[torch]"'),
    ("onnx", "reads ONNX", 'pip install "edgekit[onnx]"'),
    ("onnxruntime", "checks what was converted from ONNX", 'pip install "edgekit[onnx]"'),
    ("ethos-u-vela", "compiles for Ethos-U", 'pip install "edgekit[npu]"'),
    ("swugenerator", "makes SWUpdate bundles", 'pip install "edgekit[bundle]"'),
    ("imgtool", "signs MCUboot images", 'pip install "edgekit[bundle]"'),
    ("cyclonedx-python-lib", "writes the SBOM of a bundle", 'pip install "edgekit[bundle]"'),
    ("asn1crypto", "reads the signatures of bundles", 'pip install "edgekit[bundle]"'),
    ("tflite-micro", "runs models for microcontrollers (Linux on x86-64)", 'pip install "edgekit[micro]"'),
)
"""Package, what it is for, what installs it."""

PROGRAMS: tuple[tuple[str, str, str], ...] = (
    ("edgetpu_compiler", "compiles for Coral", "Install it from Coral: https://coral.ai/docs/edgetpu/compiler/"),
    ("hailo", "compiles for Hailo", "Install the Dataflow Compiler: https://hailo.ai/developer-zone/"),
    ("trtexec", "builds and measures TensorRT engines", "It comes with TensorRT (on a Jetson: /usr/src/tensorrt/bin)."),
    ("ssh", "reaches devices through ~/.ssh/config's ProxyCommand", "sudo apt install openssh-client"),
)
"""Program on PATH, what it is for, how to get it."""
BUNDLERS: tuple[tuple[str, str, str], ...] = (
    ("openssl", "signs SWUpdate bundles", "sudo apt install openssl"),
    ("swupdate", "checks SWUpdate bundles", "sudo apt install swupdate"),
    ("rauc", "makes and checks RAUC bundles", "sudo apt install rauc squashfs-tools"),
    ("mksquashfs", "makes the image in a RAUC bundle", "sudo apt install squashfs-tools"),
    ("mender-artifact", "makes and checks Mender artifacts", "sudo apt install mender-artifact"),
    ("dpkg-deb", "makes and checks Debian packages", "sudo apt install dpkg"),
    ("zstd", "makes deltas between bundles", "sudo apt install zstd"),
)
"""The tools of the bundle formats, likewise."""

ARCHITECTURES = frozenset({"x86_64", "aarch64"})
"""Those that the runtime and the frameworks have Linux wheels for."""
OLDEST_GLIBC = (2, 27)
"""Of ai-edge-litert's wheels: manylinux_2_27."""


def examine_host() -> tuple[Check, ...]:
    """Every check of ``CHECKS``; changes nothing."""
    return tuple(found for check in CHECKS for found in check())


def _machine() -> Iterator[Check]:
    machine, system = platform.machine(), platform.system()
    known = system == "Linux" and machine in ARCHITECTURES
    yield judge("machine", "python", platform.python_version(), "runs edgekit", "")  # pip refuses others
    yield Check(
        group="machine",
        name="architecture",
        state="ok" if known else "broken",
        found=f"{system} {machine}",
        purpose="decides which wheels there are",
        fix=None if known else "Use Linux on x86_64 or aarch64; other machines are not tested.",
    )
    name, version = platform.libc_ver()
    fits = name == "glibc" and tuple(int(part) for part in version.split(".")[:2]) >= OLDEST_GLIBC
    yield Check(
        group="machine",
        name="C library",
        state="ok" if fits else "broken",
        found=f"{name} {version}".strip() or "not glibc",
        purpose="what the runtime's wheels link against",
        fix=None if fits else "Use a system with glibc 2.27 or newer (Debian 10, Ubuntu 18.04); musl has no wheels.",
    )


def _packages() -> Iterator[Check]:
    wanted = _wanted()
    for name, purpose, fix in PACKAGES:
        version = version_of(name)
        requirement = wanted.get("tensorflow-cpu" if name == "tensorflow" else name)
        if version is None or requirement is None or requirement.specifier.contains(version, prereleases=True):
            yield judge("package", name, version, purpose, fix, nothing="not installed")
            continue
        yield Check(
            group="package",
            name=name,
            state="broken",
            found=f"{version}, and edgekit works with {requirement.specifier}",
            purpose=purpose,
            fix=f'pip install "{name}{requirement.specifier}"',
        )


def _wanted() -> dict[str, Requirement]:
    """Distribution -> what edgekit's own metadata asks of it."""
    try:
        lines = metadata.requires("edgekit") or []
    except metadata.PackageNotFoundError:  # run from a checkout that was never installed
        return {}
    return {item.name: item for item in map(Requirement, lines) if item.specifier}


def _environments() -> Iterator[Check]:
    return (environment_check(inspect_environment(tool)) for tool in TOOLS.values())


def environment_check(environment: Environment) -> Check:
    """A tool's environment as a line of the table."""
    tool, state = environment.tool, environment.state
    fix: str | None = f"edgekit doctor --install {tool.extra}"
    if state == "ready":
        fix, found = None, f"{tool.version}, Python {environment.python}, {environment.folder}"
    else:
        try:
            found = f"{state}; Python {show_version(maker_for(tool).version)} is there to make it with"
        except SourceError as err:
            fix, found = err.hint, f"{state}; {err.message}"
    return Check(
        group="environment",
        name=tool.package,
        state="ok" if state == "ready" else "broken" if state == "broken" else "missing",
        found=found,
        purpose=tool.purpose,
        fix=fix,
    )


def _programs() -> Iterator[Check]:
    for name, purpose, fix in PROGRAMS:
        yield judge("compiler", name, shutil.which(name), purpose, fix, nothing="not on PATH")
    for name, purpose, fix in BUNDLERS:
        yield judge("bundle", name, shutil.which(name), purpose, fix, nothing="not on PATH")


CHECKS: tuple[Callable[[], Iterator[Check]], ...] = (_machine, _packages, _environments, _programs)
"""What ``edgekit doctor`` looks at, in this order."""
