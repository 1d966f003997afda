"""libconfig as far as a sw-description of ours needs it: groups, lists, arrays of strings, strings; read strictly.

https://hyperrealm.github.io/libconfig/libconfig_manual.html#Configuration-Files. No numbers, comments, escapes,
includes or joined strings: those of ours have none.
"""

import re
from collections.abc import Mapping
from typing import TypeAlias, Union

from edgekit.bundle.refusal import refused
from edgekit.errors import IntegrityError

Value: TypeAlias = Union[str, tuple[str, ...], "list[Group]", "Group"]
"""A string, an array of strings, a list of groups or a group."""
Group: TypeAlias = dict[str, Value]
MAX_BYTES = 256 * 1024
MAX_DEPTH = 8
NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}", re.ASCII)
"""Of a setting."""
TEXT = re.compile(r'[^"\\\x00-\x1f\x7f-\uffff]{0,500}')
"""Of a string that needs no escape."""
_TOKEN = re.compile(rf'\s*(?:(?P<name>{NAME.pattern})|"(?P<text>{TEXT.pattern})"|(?P<mark>[={{}}()\[\],;:]))', re.ASCII)


def write_libconfig(group: Mapping[str, Value], depth: int = 0) -> str:
    """The settings of ``group``, one a line."""
    return "".join(f"{'  ' * depth}{name} = {_written(value, depth)};\n" for name, value in group.items())


def _written(value: Value, depth: int) -> str:
    end = "  " * depth
    if isinstance(value, str):
        return f'"{value}"'
    if isinstance(value, tuple):
        return "[" + ", ".join(f'"{item}"' for item in value) + "]"
    if isinstance(value, list):
        return "(" + ", ".join(_written(item, depth) for item in value) + ")"
    return f"{{\n{write_libconfig(value, depth + 1)}{end}}}"


def read_libconfig(data: bytes) -> Group:
    """The settings in ``data``; raises IntegrityError for whatever ``write_libconfig`` or swugenerator never write."""
    if len(data) > MAX_BYTES:
        raise refused(f"sw-description has more than {MAX_BYTES:,} bytes.")
    tokens = _Tokens(data)
    group = _read_settings(tokens, 0)
    if not tokens.at_end:
        raise _unreadable()
    return group


class _Tokens:
    """What is left to read."""

    def __init__(self, data: bytes) -> None:
        try:
            self._text = data.decode("ascii").rstrip()
        except UnicodeDecodeError as err:
            raise _unreadable() from err
        self._at = 0

    @property
    def at_end(self) -> bool:
        return self._at == len(self._text)

    def next(self, *kinds: str) -> tuple[str, str]:
        """Kind (``name``, ``text`` or the mark itself) and text of the next one, which is one of ``kinds``."""
        match = _TOKEN.match(self._text, self._at)
        if match is None or match.lastgroup is None:
            raise _unreadable()
        text = match.group(match.lastgroup)
        kind = text if match.lastgroup == "mark" else match.lastgroup
        if kind not in kinds:
            raise _unreadable()
        self._at = match.end()
        return kind, text

    def maybe(self, *kinds: str) -> bool:
        """Whether the next one is of ``kinds``; it is read then."""
        match = _TOKEN.match(self._text, self._at)
        found = match is not None and match.group("mark") in kinds
        if match is not None and found:
            self._at = match.end()
        return found


def _read_settings(tokens: _Tokens, depth: int) -> Group:
    """Settings up to the end of a group, which is read, or of the file."""
    if depth > MAX_DEPTH:
        raise _unreadable()
    group: Group = {}
    while not (tokens.at_end if depth == 0 else tokens.maybe("}")):
        name = tokens.next("name")[1]
        tokens.next("=", ":")
        if name in group:
            raise refused(f"sw-description says {name} twice.")
        group[name] = _read_value(tokens, depth)
        tokens.next(";")
    return group


def _read_value(tokens: _Tokens, depth: int) -> Value:
    kind, text = tokens.next("text", "{", "(", "[")
    if kind == "text":
        return text
    if kind == "{":
        return _read_settings(tokens, depth + 1)
    end = {"(": ")", "[": "]"}[kind]
    texts: list[str] = []
    groups: list[Group] = []
    while not tokens.maybe(end):
        if texts or groups:
            tokens.next(",")
        if kind == "[":
            texts.append(tokens.next("text")[1])
        else:
            tokens.next("{")
            groups.append(_read_settings(tokens, depth + 1))
    return tuple(texts) if kind == "[" else groups


def _unreadable() -> IntegrityError:
    return refused("sw-description is not as edgekit has it made.")
