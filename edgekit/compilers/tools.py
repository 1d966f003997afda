"""Compilers that users install themselves: found on PATH, asked for their version; settings that are checked."""

import re
import shutil
from collections.abc import Mapping, Sequence

from edgekit.compilers.process import ask
from edgekit.errors import CompilerError

VERSION_TIMEOUT_S = 120.0
"""Some of them load TensorFlow to say it."""
MAX_SAID = 200
"""Characters of a tool's own words that are kept of one reason."""


def find_tool(name: str, *, hint: str) -> str:
    """Path of the program ``name``; raises CompilerError with ``hint`` where it is not on PATH."""
    path = shutil.which(name)
    if path is None:
        raise CompilerError(f"{name} is not on PATH, and edgekit does not install it.", hint=hint)
    return path


def ask_version(command: Sequence[str], pattern: str) -> str | None:
    """First group of ``pattern`` in what ``command`` says; None where it says something else or does not end."""
    try:
        said = ask(command, timeout_s=VERSION_TIMEOUT_S).output
    except CompilerError:
        return None
    found = re.search(pattern, said)
    return found[1] if found else None


def whole_number(settings: Mapping[str, str], name: str, lowest: int, highest: int) -> int | None:
    """A setting that is a number; None where it is not set. Raises CompilerError outside lowest..highest."""
    value = settings.get(name)
    if value is None:
        return None
    if not re.fullmatch(r"[0-9]{1,9}", value) or not lowest <= int(value) <= highest:
        raise CompilerError(
            f"{name}: found {value!r}, expected a whole number from {lowest} to {highest}.", hint="Correct the setting."
        )
    return int(value)


def one_of(settings: Mapping[str, str], name: str, choices: Sequence[str]) -> str | None:
    """A setting with a few values; None where it is not set. Raises CompilerError for another value."""
    value = settings.get(name)
    if value is not None and value not in choices:
        raise CompilerError(f"{name}: found {value!r}, expected {' or '.join(choices)}.", hint="Correct the setting.")
    return value


def plain(said: str) -> str:
    """A tool's own words on one line, without control characters, and not endless."""
    line = " ".join(re.sub(r"\x1b\[[0-9;?]*[A-Za-z]|[^\x20-\x7e\xa0-\U0010ffff]", " ", said[: 10 * MAX_SAID]).split())
    return line if len(line) <= MAX_SAID else line[:MAX_SAID] + " ..."
