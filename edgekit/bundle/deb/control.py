"""The control archive of a package: what dpkg and apt are told of a release, and what they run (Debian Policy 5 and 6).

dpkg unpacks the release tree below ``RELEASES``; ``postinst`` installs from there into the device's own folder of
models, where the version before stays active until the new one has passed. So dpkg never touches what an application
uses, and a failed ``postinst`` leaves a package half-configured beside a model that works.
"""

import hashlib
import re
from collections.abc import Mapping
from importlib import resources

from edgekit.bundle.deb.names import checked_package, debian_version, package_name
from edgekit.bundle.entries import Release
from edgekit.bundle.types import INSTALL
from edgekit.errors import BundleError

RELEASES = "usr/lib/edgekit/releases"
DEFAULTS = "/etc/default/edgekit"
"""The device's own settings, read by the scripts: EDGEKIT_PYTHON, EDGEKIT_ALLOW_DOWNGRADE."""
SCRIPTS = ("preinst", "postinst", "prerm", "postrm")
FIELDS: Mapping[str, tuple[str, str]] = {
    "package": ("", "name of the package; the default is edgekit-model-NAME"),
    "maintainer": ("edgekit <root@localhost>", "who answers for the package, as Name <mail>"),
    "depends": ("python3 (>= 3.7)", "what apt installs with it; add the runtime where it comes as a package"),
    "section": ("misc", "as in Debian's archive"),
    "homepage": ("", "a URL; none by default"),
    "description": ("", "one line; the default names model, version and target"),
}
"""Setting -> (default, meaning); empty where the default depends on the release or is nothing."""
_LINE = re.compile(r"[^\x00-\x1f\x7f]{1,500}\Z")
_FIELD = re.compile(r"([A-Za-z][A-Za-z0-9-]*): (\S.*)")


def release_folder(release: Release) -> str:
    """Where dpkg puts the release tree, without the leading ``/``; each version has a folder of its own."""
    return f"{RELEASES}/{release.name}/{release.version}"


def control_files(
    release: Release, files: Mapping[str, bytes], architecture: str, settings: Mapping[str, str]
) -> dict[str, bytes]:
    """``control``, ``md5sums`` and the maintainer scripts; raises BundleError for a setting that does not fit."""
    package = checked_package(settings.get("package") or package_name(release.name))
    values = {name: _line(name, settings.get(name) or default) for name, (default, _) in FIELDS.items()}
    fields = {
        "Package": package,
        "Version": debian_version(release.version),
        "Architecture": architecture,
        "Maintainer": values["maintainer"],
        "Installed-Size": str(_installed_kib(files)),
        "Depends": values["depends"],
        "Section": values["section"],
        "Priority": "optional",
        "Homepage": values["homepage"],
        "Description": values["description"]
        or f"{release.name} {release.version}, a model for {release.target}, as a release of edgekit",
    }
    text = "".join(f"{name}: {value}\n" for name, value in fields.items() if value)
    text += (
        f" Artifact {release.artifact}.\n"
        " .\n"
        " It becomes active when this device has reproduced its golden vectors and the\n"
        " application is healthy with it; the version before stays active until then, and\n"
        " where it fails.\n"
    )
    scripts = {name: _script(name, release, package) for name in SCRIPTS}
    return {"control": text.encode(), "md5sums": _md5sums(release, files), **scripts}


def read_control(text: str) -> dict[str, str]:
    """The one-line fields of a control file."""
    return {match[1]: match[2] for match in map(_FIELD.match, text.splitlines()) if match}


def _line(name: str, value: str) -> str:
    if value and not _LINE.match(value):
        raise BundleError(
            f"The setting {name} cannot be {value[:100]!r}.", hint="It is one line of 500 characters at most."
        )
    return value


def _installed_kib(files: Mapping[str, bytes]) -> int:
    """Policy 5.6.20: KiB of each file, rounded up, and one for each folder."""
    folders = {parent for path in files for parent in _parents(path)}
    return sum(-(-len(data) // 1024) for data in files.values()) + len(folders) + len(RELEASES.split("/")) + 2


def _parents(path: str) -> list[str]:
    parts = path.split("/")
    return ["/".join(parts[:count]) for count in range(1, len(parts))]


def _md5sums(release: Release, files: Mapping[str, bytes]) -> bytes:
    """For ``dpkg --verify``; digests that protect are those of release.json."""
    folder = release_folder(release)
    lines = [
        f"{hashlib.md5(data, usedforsecurity=False).hexdigest()}  {folder}/{path}\n"
        for path, data in sorted(files.items())
    ]
    return "".join(lines).encode()


def _script(name: str, release: Release, package: str) -> bytes:
    """One maintainer script; no value that is put in has a character that a shell reads (see ``Release``)."""
    text = resources.files("edgekit.bundle.deb").joinpath("scripts", name).read_text("utf-8")
    values = {
        "PACKAGE": package,
        "MODEL": release.name,
        "FOLDER": f"/{RELEASES}/{release.name}",
        "INSTALL": f"/{release_folder(release)}/{INSTALL}",
        "DEFAULTS": DEFAULTS,
        "ROOT": release.installation.root,
    }
    for key, value in values.items():
        text = text.replace(f"@{key}@", value)
    return text.encode()
