"""Typed TOML and JSON documents: one place that reads them and says what is wrong in them."""

import difflib
import re
import types
import typing
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from edgekit.errors import EdgekitError

T = TypeVar("T")

MAX_BYTES = 4 * 1024 * 1024
"""Documents are small; a larger one is damaged or hostile."""


class Document(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Base of every value read from a file: immutable, named fields only, unknown keys refused."""


def read_toml(path: Path, kind: type[T], error: type[EdgekitError], *, table: tuple[str, ...] = ()) -> T:
    """Read a TOML file (or the table inside it) into ``kind``; raises ``error`` naming file, key and cause."""
    import tomllib

    try:
        value: Any = tomllib.loads(read_bounded(path, error).decode())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as err:
        raise error(f"{path} is not valid TOML: {err}", hint="Correct the line that is named.") from err
    except RecursionError as err:
        raise error(f"{path} is nested too deeply.", hint="No document of edgekit's is; write it anew.") from err
    for key in table:
        value = value.get(key, {}) if isinstance(value, dict) else value
    return convert(value, kind, error, where=str(path))


def read_json(path: Path, kind: type[T], error: type[EdgekitError]) -> T:
    """Read a JSON file into ``kind``; raises ``error`` naming file, key and cause."""
    return parse_json(read_bounded(path, error), kind, error, where=str(path))


def parse_json(data: bytes, kind: type[T], error: type[EdgekitError], *, where: str) -> T:
    """Parse JSON bytes into ``kind``; raises ``error`` naming ``where``, key and cause."""
    try:
        return convert(msgspec.json.decode(data), kind, error, where=where)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as err:
        raise error(f"{where} is not valid JSON: {err}", hint="The file is damaged; make it anew.") from err


def write_json(value: Any) -> bytes:
    """Canonical JSON: sorted keys, two spaces, a final newline; the same value gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(value, order="sorted"), indent=2) + b"\n"


def read_bounded(path: Path, error: type[EdgekitError], *, limit: int = MAX_BYTES) -> bytes:
    """Bytes of a file of at most ``limit``; raises ``error`` when it is missing, unreadable or too large.

    A named pipe that nobody writes to would be waited for, without an end.
    """
    if path.is_fifo():
        raise error(f"{path} is a named pipe.", hint="Give a file.")
    try:
        with path.open("rb") as stream:
            data = stream.read(limit + 1)
    except OSError as err:
        raise error(f"{path} cannot be read: {err.strerror}.", hint="Check the path.") from err
    if len(data) > limit:
        raise error(f"{path} is larger than {limit} bytes.", hint="That is no document of edgekit's.")
    return data


def convert(value: Any, kind: type[T], error: type[EdgekitError], *, where: str) -> T:
    """Check a decoded value against ``kind``; the error names file, key, what was found and what was expected."""
    try:
        return msgspec.convert(value, kind)
    except msgspec.ValidationError as err:
        raise error(_explain(str(err), value, where), hint=_hint(str(err), kind)) from err


def _explain(text: str, value: Any, where: str) -> str:
    reason, _, place = text.partition(" - at ")
    # the key of a mapping is told as "key` in `$.files"
    key = place.strip("`").rpartition("key` in `")[2].removeprefix("$").lstrip(".")
    key = key or _missing_key(reason) or "(top level)"
    found = _lookup(value, key)
    shown = (
        f", found {found!r}"
        if found is not None and reason.startswith("Expected") and not isinstance(found, dict)
        else ""
    )
    return f"{where}: {key}: {reason}{shown}."


def _missing_key(reason: str) -> str | None:
    match = re.search(r"field `([^`]+)`", reason)
    return match.group(1) if match else None


def _lookup(value: Any, key: str) -> Any:
    for part in re.findall(r"[^.\[\]]+", key):
        if isinstance(value, dict) and part in value:
            value = value[part]
        elif isinstance(value, list) and part.isdigit() and int(part) < len(value):
            value = value[int(part)]
        else:
            return None
    return value


def _hint(text: str, kind: Any) -> str:
    unknown = re.search(r"unknown field `([^`]+)`", text)
    if unknown:
        known = sorted(_field_names(kind))
        close = difflib.get_close_matches(unknown.group(1), known, n=1)
        return f"Did you mean {close[0]!r}?" if close else f"Known keys here and below: {', '.join(known)}."
    if "Invalid enum value" in text:
        place = text.partition(" - at ")[2].strip("`").removeprefix("$").lstrip(".")
        choices = _choices(_type_at(kind, place))
        if choices:
            return (
                "Expected " + ", ".join(choices[:-1]) + f" or {choices[-1]}."
                if choices[1:]
                else f"Expected {choices[0]}."
            )
    return "Correct the value; the documentation of the file names every key and its unit."


def _type_at(kind: Any, place: str) -> Any:
    """The declared type at a place such as ``quantization.precisions[2]``."""
    for part in re.findall(r"[^.\[\]]+", place):
        struct = next(
            (inner for inner in _flat(kind) if isinstance(inner, type) and issubclass(inner, msgspec.Struct)),
            None,
        )
        if struct is not None:
            kind = next((field.type for field in msgspec.structs.fields(struct) if field.encode_name == part), None)
        else:  # an item of a tuple or a value of a mapping
            kind = next(
                (arguments[-1] if arguments[-1] is not ... else arguments[0] for arguments in _arguments(kind)),
                None,
            )
    return kind


def _flat(kind: Any) -> list[Any]:
    """The alternatives of a union, unwrapped from Annotated."""
    if typing.get_origin(kind) is Annotated:
        return _flat(typing.get_args(kind)[0])
    if typing.get_origin(kind) in {typing.Union, types.UnionType}:
        return [inner for argument in typing.get_args(kind) for inner in _flat(argument)]
    return [kind]


def _arguments(kind: Any) -> list[tuple[Any, ...]]:
    return [arguments for inner in _flat(kind) if (arguments := typing.get_args(inner))]


def _choices(kind: Any) -> list[str]:
    return sorted(
        repr(value) for inner in _flat(kind) if typing.get_origin(inner) is Literal for value in typing.get_args(inner)
    )


def _field_names(kind: Any, seen: set[Any] | None = None) -> set[str]:
    seen = set() if seen is None else seen
    names: set[str] = set()
    if kind in seen:
        return names
    seen.add(kind)
    if isinstance(kind, type) and issubclass(kind, msgspec.Struct):
        for field in msgspec.structs.fields(kind):
            names.add(field.encode_name)
            names |= _field_names(field.type, seen)
    for inner in getattr(kind, "__args__", ()):
        names |= _field_names(inner, seen)
    return names
