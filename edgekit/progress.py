"""How long steps are followed: one protocol from the library to the bar of the command line."""

from typing import Protocol


class Progress(Protocol):
    """Told of every step; ``done`` and ``total`` count samples where a step has them."""

    def __call__(self, step: str, done: int | None = None, total: int | None = None) -> None: ...


def silent(step: str, done: int | None = None, total: int | None = None) -> None:
    """Progress for callers that show none."""
