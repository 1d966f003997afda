"""tools/cases.tsv: what each file of the cases folder is, where it comes from, and how the right one is told."""

from __future__ import annotations

import csv
import hashlib
import re
from collections.abc import Sequence
from dataclasses import astuple, dataclass, fields, replace
from pathlib import Path, PurePosixPath

from tools.repack_cases import content_digest

DERIVED = "derived here"


class TableError(Exception):
    """The table is not one, or a line of it is refused."""


@dataclass(frozen=True, kw_only=True)
class Case:
    """A line of cases.tsv."""

    path: str
    """Where the file lies under the cases folder; relative, "/" between parts."""
    bytes: int
    sha256: str
    source: str
    """"github:OWNER/REPO", or "derived here": made by this project, in no public place."""
    commit: str
    source_path: str
    """Path in that repository; of a repacked file, what it was made from, in words."""
    licence: str
    note: str
    content_sha256: str
    """Digest of the arrays of an .npz, as `content_digest` computes it; "" for every other file."""


def read_cases(table: Path) -> list[Case]:
    """Every line of `table`. Raises TableError: it is no such table, or a path leaves its folder."""
    columns = [field.name for field in fields(Case)]
    with table.open(newline="", encoding="utf-8") as file:
        lines = list(csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
    if not lines or lines[0] != columns:
        raise TableError(f"{table}: the first line must name the columns {' '.join(columns)}")
    return [_case(f"{table}:{number}", line) for number, line in enumerate(lines[1:], start=2)]


def _case(where: str, line: list[str]) -> Case:
    if len(line) != len(fields(Case)) or not re.fullmatch(r"[0-9]{1,9}", line[1]):
        raise TableError(f"{where}: expected {len(fields(Case))} columns, the second a size in bytes")
    path, _, sha256, source, commit, source_path, licence, note, content = line
    if not is_plain_path(path) or path == "MANIFEST.tsv":
        raise TableError(f"{where}: {path!r} is not a plain relative path under the cases folder: refused")
    if source != DERIVED and not (
        re.fullmatch(r"github:[\w.-]+/[\w.-]+", source)
        and is_plain_path(source.removeprefix("github:"))
        and re.fullmatch(r"[0-9a-f]{40}", commit)
        and is_plain_path(source_path)
    ):
        raise TableError(f"{where}: {source!r} {commit!r} {source_path!r} name no file of a repository at a commit")
    if not all(re.fullmatch(r"[0-9a-f]{64}", digest) for digest in (sha256, content or sha256)):
        raise TableError(f"{where}: not a sha256 in lower-case hex")
    return Case(
        path=path, bytes=int(line[1]), sha256=sha256, source=source, commit=commit, source_path=source_path,
        licence=licence, note=note, content_sha256=content,
    )  # fmt: skip


def is_plain_path(path: str) -> bool:
    """Whether `path` is relative, normalised, and stays below where it starts."""
    parts = PurePosixPath(path).parts
    return (
        path == "/".join(parts)
        and bool(parts)
        and not any(part == ".." or part.startswith("/") for part in parts)
        and path.isprintable()
        and "\\" not in path
    )


def fault(case: Case, data: bytes) -> str | None:
    """What makes `data` another file than `case` names, or None."""
    digest = hashlib.sha256(data).hexdigest()
    if digest == case.sha256 or (case.content_sha256 and content_digest(data) == case.content_sha256):
        return None
    if case.content_sha256:
        return f"its arrays are not the ones of {case.content_sha256[:12]}..."
    if len(data) != case.bytes:
        return f"{len(data)} bytes instead of {case.bytes}"
    return f"sha256 {digest[:12]}... instead of {case.sha256[:12]}..."


def is_there(case: Case, folder: Path) -> bool:
    """Whether the file lies in `folder` already and is the one the table names."""
    path = folder / case.path
    return path.is_file() and fault(case, path.read_bytes()) is None


def manifest(cases: Sequence[Case], folder: Path) -> bytes:
    """MANIFEST.tsv of what lies in `folder`, with its own sizes and digests, in the table's columns."""
    lines = [[field.name for field in fields(Case)]]
    for case in cases:
        data = (folder / case.path).read_bytes()
        here = replace(case, bytes=len(data), sha256=hashlib.sha256(data).hexdigest())
        lines.append([str(value) for value in astuple(here)])
    return "".join("\t".join(line) + "\n" for line in lines).encode()
