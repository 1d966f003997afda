"""Delegate libraries and runtimes that are known not to work together, and the pairs that do: targets/pairs/*.toml."""

import re
from pathlib import Path, PurePosixPath
from typing import TypeVar

from edgekit.documents import Document, read_toml
from edgekit.entries import FindingEntry
from edgekit.errors import EdgekitError, TargetError
from edgekit.target import Url, target_folders

Version = tuple[int, ...]
Failure = TypeVar("Failure", bound=EdgekitError)
BUILT_FOR = re.compile(r"tf(\d+)\.(\d+)", re.IGNORECASE)
"""In the version of a package: the TensorFlow it was built for, such as 16.0tf2.16.1-1."""


class Mismatch(Document, frozen=True, kw_only=True):
    """One pair that does not work; every key that stands must hold."""

    name: str
    runtimes: dict[str, str]
    """Runtime -> the first version of it that the library does not work with."""
    fits_built_for: bool = False
    """A library that was built for the runtime's own version is no such case."""
    python_below: str | None = None
    python_from: str | None = None
    glibc_below: str | None = None
    message: str
    fix: str
    """The pair that works."""
    source: Url


class Pairs(Document, frozen=True, kw_only=True):
    """What is known of one library."""

    schema_version: int
    library: str
    """How its file name begins."""
    mismatch: tuple[Mismatch, ...]


def load_pairs(directory: Path = Path()) -> tuple[Pairs, ...]:
    """Every file of targets/pairs, by name; the user's ``./targets/pairs`` first. Raises TargetError."""
    files: dict[str, Path] = {}
    for folder in target_folders(directory):
        for path in sorted((folder / "pairs").glob("*.toml")):
            files.setdefault(path.name, path)
    return tuple(read_toml(files[name], Pairs, TargetError) for name in sorted(files))


def known_mismatches(
    runtime: str,
    version: str,
    *,
    library: str,
    package: str | None = None,
    python: str | None = None,
    glibc: str | None = None,
    pairs: tuple[Pairs, ...] | None = None,
) -> tuple[FindingEntry, ...]:
    """What is known to go wrong with ``library``, its path or name, on this runtime: warnings, for builds differ.

    package: version of the package that the library came with, where it is known; it may tell which TensorFlow it was
    built for. python, glibc: the device's; None: not known, and rules that ask for them do not hold. Pure with
    ``pairs``, which are read from targets/pairs by default.
    """
    name = PurePosixPath(library).name
    known = load_pairs() if pairs is None else pairs
    return tuple(
        FindingEntry(
            name=item.name, severity="warning", message=f"{name}, {runtime} {version}: {item.message}",
            fix=f"{item.fix} ({item.source})",
        )
        for group in known
        if name.startswith(group.library)
        for item in group.mismatch
        if _holds(item, runtime, version, package, python, glibc)
    )  # fmt: skip


def _holds(
    item: Mismatch, runtime: str, version: str, package: str | None, python: str | None, glibc: str | None
) -> bool:
    first = item.runtimes.get(runtime)
    if first is None or _parse(version) < _parse(first):
        return False
    built = BUILT_FOR.search(package or "")
    if item.fits_built_for and built and (int(built[1]), int(built[2])) == _parse(version)[:2]:
        return False
    return (
        (item.python_below is None or (python is not None and _parse(python) < _parse(item.python_below)))
        and (item.python_from is None or (python is not None and _parse(python) >= _parse(item.python_from)))
        and (item.glibc_below is None or (glibc is not None and _parse(glibc) < _parse(item.glibc_below)))
    )


def _parse(version: str) -> Version:
    return tuple(int(part) for part in re.findall(r"\d+", version)[:3])


def explain_crash(err: Failure, library: str) -> Failure:
    """The error of a delegate that crashed, with the pair that works where it is known.

    ``details`` of the error name the runtime and the machine, as the agent does.
    """
    facts = err.details
    if not isinstance(facts.get("runtime"), str):
        return err
    found = known_mismatches(
        facts["runtime"], str(facts["version"]), library=library, python=facts.get("python"), glibc=facts.get("glibc")
    )
    if not found:
        return err
    return type(err)(
        " ".join([err.message, *(item.message for item in found)]),
        hint=" ".join(item.fix for item in found),
        details=facts,
    )
