"""Power cuts at random moments of an installation, and what must be so after each."""

import random
from collections.abc import Callable
from pathlib import Path

from tests.lab.clients.types import Client, Outcome

GROWTH = 1.02
RETRIED_EVERY = 5
"""Of the power cuts; those between meet what several before them left."""


class PowerCuts:
    """Moments for ``count`` power cuts, anywhere in an installation that took ``whole_s``.

    An installation that came to its end before its moment was none, and says how long one takes now; after each that
    was one the next may come a little later, because a machine is not always as fast. A test asks until none is
    ``left``.
    """

    def __init__(self, count: int, whole_s: float, *, seed: int = 6) -> None:
        self.left, self.tries = count, 0
        self._most, self._whole_s, self._chance = 3 * count, whole_s, random.Random(seed)

    def moment(self) -> float:
        """Seconds after the start; AssertionError where hardly any try is a power cut."""
        assert self.tries < self._most, f"{self.tries} tries, and {self.left} power cuts are still to come"
        self.tries += 1
        return self._chance.uniform(0.0, self._whole_s)

    def saw(self, outcome: Outcome) -> Outcome:
        """Count what came of a try, and learn from it."""
        if outcome.killed:
            self.left -= 1
            self._whole_s *= GROWTH
        else:
            self._whole_s = outcome.seconds
        return outcome


def survive(
    device: Client, bundles: Callable[[str], Path], *, cuts: int, after: Callable[[set[str]], None] = lambda _: None
) -> None:
    """Install one version after the other, with ``cuts`` power cuts anywhere: a whole version is active at each start.

    It is the new one where the client said so. After a power cut it may be that one, the one before, or one in between:
    what was not confirmed is undone by the next installation, and apt ends what was begun. A retry works.
    ``after`` gets the versions that may be active, of which there is one after a retry.
    """
    assert device.install(bundles("3.0.0")).accepted
    moments = PowerCuts(cuts, device.install(bundles("3.1.0")).seconds)
    versions, switched = {"3.1.0"}, set()
    while moments.left:
        new = f"3.2.{moments.tries}"
        bundle = bundles(new)
        outcome = moments.saw(device.install(bundle, kill_after_s=moments.moment()))
        active = device.active()
        versions = {*versions, new} if outcome.killed else {new}
        assert active in versions, outcome.output
        after(versions)
        switched.add(active == new)
        if moments.left % RETRIED_EVERY == 0:
            retried = device.install(bundle)
            assert retried.accepted, f"{outcome.output}\n--- retry ---\n{retried.output}"
            assert device.active() == new
            versions = {new}
            after(versions)
    assert switched == {False, True}, "every power cut came before the switch, or every one behind it"
