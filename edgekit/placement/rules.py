"""``targets/rules/*.toml`` -> ``DelegateRules``: which ops a delegate takes, shared by every board that has it."""

from pathlib import Path
from typing import Literal

import msgspec

from edgekit.documents import Document, read_toml
from edgekit.errors import TargetError
from edgekit.target import Url, target_folders

Number = int | float


class Limit(Document, frozen=True, kw_only=True):
    """What an option of an op may be; every key that stands must hold."""

    min: Number | None = None
    max: Number | None = None
    one_of: tuple[str | int | bool | float, ...] = ()


class OpRule(Document, frozen=True, kw_only=True):
    """One form in which an op is taken; several rules of the same op are alternatives, every key of one must hold."""

    ops: tuple[str, ...]
    """Builtin operators as in the schema, or codes of custom ones."""
    dtypes: tuple[str, ...] = ()
    """Of every input and output that is no constant; empty: any."""
    weights: tuple[str, ...] = ()
    """Of the second input where it is a constant of rank 2 or more; empty: any."""
    per_channel: bool = True
    """False where the weights must have one scale."""
    ranks: tuple[int, ...] = ()
    """Of the first input that is no constant; empty: any."""
    max_version: int | None = None
    """Newest version of the operator it knows."""
    static: bool = True
    """Every shape must be known before it runs."""
    options: dict[str, Limit] = msgspec.field(default_factory=dict)
    """The op's builtin options by the schema's own names, such as ``strideW``."""
    checks: tuple[str, ...] = ()
    """What these keys cannot say: names in ``edgekit/placement/checks.py``."""
    source: Url | None = None
    """Where it is not the file's."""


class DelegateRules(Document, frozen=True, kw_only=True):
    """What a delegate or compiler takes."""

    schema_version: Literal[1]
    name: str
    description: str
    version: str
    """What the rules were read from or tried with, such as ``ai-edge-litert 2.3.0``."""
    source: Url
    stops: bool = False
    """True where everything after the first op that is not taken stays on the CPU."""
    ops: tuple[OpRule, ...]
    changes: dict[str, str] = msgspec.field(default_factory=dict)
    """Name of a check, key of a rule (``dtypes``) or op -> what to do to the model instead; the first that is there, in
    this order."""


def load_rules(name: str, directory: Path = Path()) -> DelegateRules:
    """The rules called ``name``: the user's ``./targets/rules`` first; raises TargetError."""
    known: set[str] = set()
    for folder in target_folders(directory):
        path = folder / "rules" / f"{name}.toml"
        if path.is_file():
            return _read(path)
        known.update(file.stem for file in (folder / "rules").glob("*.toml"))
    raise TargetError(
        f"There are no rules {name!r}.", hint=f"Known: {', '.join(sorted(known))}; your own go into ./targets/rules/."
    )


def _read(path: Path) -> DelegateRules:
    rules = read_toml(path, DelegateRules, TargetError)
    if rules.name != path.stem:
        raise TargetError(
            f"{path}: name: found {rules.name!r}, expected {path.stem!r}, the name of the file.",
            hint="Rename the file or the rules; the two are one.",
        )
    return rules
