"""Refusals: one sentence each, and the next step, which is mostly the same."""

from edgekit.errors import IntegrityError

ANEW = "Do not install it. Get the bundle anew from where it was made, or make it again: edgekit bundle create."


def refused(message: str, *, hint: str = ANEW) -> IntegrityError:
    """The error (exit code 8) that says why a bundle is not accepted."""
    return IntegrityError(message, hint=hint)
