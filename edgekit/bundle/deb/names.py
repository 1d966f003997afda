"""What a release is called among Debian packages: name, version, architecture (Debian Policy 5.6)."""

import re

from edgekit.agent.versions import PATTERN
from edgekit.errors import BundleError
from edgekit.target import Target

PREFIX = "edgekit-model-"
PACKAGE = re.compile(r"[a-z0-9][a-z0-9+.-]{1,127}\Z")
"""Policy 5.6.1."""
ARCHITECTURES = {"aarch64": "arm64", "armv7l": "armhf", "x86_64": "amd64"}
"""``cpu.architecture`` of a target -> Debian's name. A board of another one is refused by apt and dpkg."""
_WORD = re.compile(r"[A-Za-z]+\Z")
_VERSION = re.compile(PATTERN)


def package_name(model: str) -> str:
    """Name of the package of a model, such as ``edgekit-model-kws``.

    Debian has neither capitals nor ``_``: two models can be mapped to one name; preinst notices it on the device.
    """
    return PREFIX + model.lower().replace("_", "-")


def checked_package(name: str) -> str:
    """``name`` if it can be a package's; raises BundleError."""
    if not PACKAGE.match(name):
        raise BundleError(
            f"{name!r} cannot be the name of a Debian package.",
            hint="Use lower-case letters, digits, '+', '.' and '-', two at least: --setting package=NAME.",
        )
    return name


def debian_version(version: str) -> str:
    """A release's version as Debian orders it (Policy 5.6.12): ``1.0.0-rc.1`` becomes ``1.0.0~rc~1``.

    ``a < b`` by semver.org exactly where ``dpkg --compare-versions`` says that of their results. For that a word ends
    with ``~``, the only character that sorts before letters, and twice where nothing follows: else ``rc`` would come
    after ``rc.1``, and ``rc.1`` after ``rcx``. Raises BundleError for a pre-release that mixes letters and digits:
    semver.org compares those by character (``rc10 < rc9``), Debian by number.
    """
    core, _, pre = version.partition("-")
    if not pre:
        return core
    text = "".join(map(_encoded, pre.split(".")))
    return f"{core}~" + (text + "~" if text.endswith("~") else text.removesuffix("."))


def _encoded(identifier: str) -> str:
    if identifier.isdigit():
        return identifier + "."
    if _WORD.match(identifier):
        return identifier + "~"
    raise BundleError(
        f"Debian does not order the pre-release {identifier!r} as semver.org does: it compares digits within a word as"
        " a number.",
        hint="Separate words and numbers by dots, such as 1.0.0-rc.1.",
    )


def release_version(text: str) -> str | None:
    """The version whose ``debian_version`` is ``text``; None where there is none."""
    core, _, pre = text.partition("~")
    version = f"{core}-{pre.removesuffix('~~').replace('~', '.')}" if pre else core
    try:
        return version if _VERSION.match(version) and debian_version(version) == text else None
    except BundleError:
        return None


def debian_architecture(target: Target) -> str:
    """Debian's name of a target's architecture; raises BundleError where its system is not of Debian's kind."""
    architecture = ARCHITECTURES.get(target.cpu.architecture)
    if target.os != "linux" or architecture is None:
        raise BundleError(
            f"{target.name} runs {target.os} on {target.cpu.architecture}: no Debian package is installed there.",
            hint="Choose the format that its update system takes: edgekit bundle create --help lists them.",
        )
    return architecture
