"""What every update client of the lab can do, so that one set of tests and one table asks all of them the same."""

from dataclasses import dataclass
from pathlib import Path
from typing import Protocol


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """One attempt to install."""

    accepted: bool
    """The client said that the release is installed and healthy."""
    killed: bool
    """It was ended by our SIGKILL, with everything that it had started, before it came to an end."""
    output: str
    seconds: float


class Client(Protocol):
    """A device with a real update client on it; made by a context manager ``client(folder, keys, ...)``."""

    def install(self, bundle: Path, *, kill_after_s: float | None = None) -> Outcome:
        """Install and, where the format has such a step, boot and confirm: all that a fleet's device would do.

        With ``kill_after_s`` the client and all its children get SIGKILL then, as if the power went.
        """

    def active(self) -> str | None:
        """Version that an application on the device gets now, after a restart, whole by its digests; None: none.

        Raises AssertionError where what is active is not whole: half a release, or a model with another's manifest.
        """
