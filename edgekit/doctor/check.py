"""One thing that was looked at, on this machine or on a device."""

from dataclasses import dataclass
from typing import Literal

State = Literal["ok", "missing", "broken"]
Group = Literal[
    "machine",
    "package",
    "environment",
    "compiler",
    "bundle",
    "runtime",
    "delegate",
    "sensor",
    "permission",
    "profile",
]
HERE = "here"
"""This machine, as the place of a check."""


@dataclass(frozen=True, kw_only=True)
class Check:
    """One line of ``edgekit doctor``."""

    group: Group
    name: str
    state: State
    """``missing``: optional, and what needs it says so when it is used. ``broken``: something fails because of it."""
    found: str
    """Version or path, or what is wrong."""
    purpose: str
    fix: str | None
    """None where there is nothing to do."""
    where: str = HERE
    """``here``, or the name of a device."""


def judge(
    group: Group,
    name: str,
    found: str | None,
    purpose: str,
    fix: str,
    *,
    absent: State = "missing",
    nothing: str = "not found",
    where: str = HERE,
) -> Check:
    """``ok`` where ``found`` says something, else ``absent`` with its fix."""
    return Check(
        group=group,
        name=name,
        state=absent if found is None else "ok",
        found=nothing if found is None else found,
        purpose=purpose,
        fix=fix if found is None else None,
        where=where,
    )
