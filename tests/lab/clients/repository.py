"""A flat apt repository with a real OpenPGP signature, as docs/deb.md makes it."""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from tests.lab.machine import require, run

PROGRAMS = ("gpg", "gpgconf", "apt-ftparchive")


@contextmanager
def signing_key(gnupg: Path) -> Iterator[Path]:
    """A home of gpg with one key that signs without a passphrase; its agent ends with it."""
    require(PROGRAMS)
    gnupg.mkdir(mode=0o700)
    identity = "Models <models@example.com>"
    run("gpg", "--homedir", gnupg, "--batch", "--passphrase", "", "--quick-generate-key", identity, "ed25519", "sign")
    try:
        yield gnupg
    finally:
        run("gpgconf", "--homedir", gnupg, "--kill", "all")


def public_key(gnupg: Path, path: Path) -> Path:
    """The armored public key of ``signing_key``, written to ``path``."""
    path.write_text(run("gpg", "--homedir", gnupg, "--batch", "--armor", "--export"))
    return path


def make_repository(packages: Sequence[Path], folder: Path, gnupg: Path) -> None:
    """Put ``packages`` into ``folder`` and sign it."""
    folder.mkdir(exist_ok=True)
    for package in packages:
        shutil.copyfile(package, folder / package.name)
    for name in ("Packages", "Release", "InRelease"):
        (folder / name).unlink(missing_ok=True)
    for kind, name in (("packages", "Packages"), ("release", "Release")):
        done = subprocess.run(["apt-ftparchive", kind, "."], cwd=folder, capture_output=True, timeout=60, check=True)
        (folder / name).write_bytes(done.stdout)
    run("gpg", "--homedir", gnupg, "--batch", "--clearsign", "-o", folder / "InRelease", folder / "Release")
