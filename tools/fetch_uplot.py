"""Fetch uPlot, the plotting library of the HTML report, into edgekit/report/html/assets.

    python -m tools.fetch_uplot            # from the npm registry that npm is set up for
    python -m tools.fetch_uplot --check    # no network: are the files there those of the pinned version?

A file is written only where the archive and every file in it have the digests that stand here. To renew: change
VERSION, run it, read what changed between the two versions, and put the digests that it names here.
"""

import argparse
import hashlib
import io
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path

ASSETS = Path(__file__).resolve().parent.parent / "edgekit" / "report" / "html" / "assets"
VERSION = "1.6.32"
ARCHIVE_SHA256 = "4b8a8191e425658e3ea8c8c1314b0fc679c861ee3a1af2b20c7b16ba50b5133d"
FILES = {
    "uPlot.iife.min.js": (
        "package/dist/uPlot.iife.min.js",
        "19c8d4c6ad88929a79f4ae49d6f7161566dfd0ba3d15cc495e974f787eb78f1f",
    ),
    "uPlot.min.css": (
        "package/dist/uPlot.min.css",
        "df630c6a8d6f8eeaff264b50f73ce5b114f646ffd9a0bb74f049b0a00135fa04",
    ),
    "uPlot.LICENSE": (
        "package/LICENSE",
        "8f989229699b4fe2f1a0432d0e9edc338a8a911e250e2d1b01ecd770a5f5b1bd",
    ),
}
"""Name here -> (name in the archive, sha256)."""


class FetchError(Exception):
    """Something is not what is pinned, or could not be had."""


def changed(folder: Path) -> list[str]:
    """Files of ``folder`` that are missing or not those of the pinned version."""
    return [
        name
        for name, (_, digest) in FILES.items()
        if not (folder / name).is_file() or hashlib.sha256((folder / name).read_bytes()).hexdigest() != digest
    ]


def unpack(archive: bytes) -> dict[str, bytes]:
    """The files of a checked archive. Raises FetchError."""
    _require(archive, ARCHIVE_SHA256, f"the archive of uPlot {VERSION}")
    found = {}
    with tarfile.open(fileobj=io.BytesIO(archive), mode="r:gz") as packed:
        for name, (member, digest) in FILES.items():
            stream = packed.extractfile(member)
            found[name] = b"" if stream is None else stream.read()
            _require(found[name], digest, member)
    return found


def download() -> bytes:
    """The archive, by npm: it knows the registry and its credentials. Raises FetchError."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", "--silent", "--ignore-scripts", f"uplot@{VERSION}"]
        try:
            subprocess.run(command, cwd=folder, check=True, capture_output=True, timeout=300)
        except FileNotFoundError as err:
            raise FetchError("npm is not installed; on Debian: apt-get install npm") from err
        except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as err:
            raise FetchError(f"npm pack uplot@{VERSION} failed: {err}") from err
        return (Path(folder) / f"uplot-{VERSION}.tgz").read_bytes()


def _require(data: bytes, digest: str, what: str) -> None:
    found = hashlib.sha256(data).hexdigest()
    if found != digest:
        raise FetchError(f"{what} is not the one that is pinned: sha256 {found}, expected {digest}")


def main() -> int:
    """0: the files are there and right."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--check", action="store_true", help="only look at the files that are there")
    arguments = parser.parse_args()
    try:
        if not arguments.check:
            for name, data in unpack(download()).items():
                (ASSETS / name).write_bytes(data)
    except FetchError as err:
        print(f"fetch_uplot: {err}", file=sys.stderr)
        return 1
    wrong = changed(ASSETS)
    print(f"uPlot {VERSION}: {'changed or missing: ' + ', '.join(wrong) if wrong else 'as pinned'}")
    return 1 if wrong else 0


if __name__ == "__main__":
    sys.exit(main())
