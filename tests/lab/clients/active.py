"""What is active on a device that edgekit's agent switches."""

import os

from edgekit.agent.layout import Place, find_damage, read_current
from edgekit.agent.state import read_state


def active_version(place: Place) -> str | None:
    """Version that an application gets now, confirmed or not; AssertionError where it is not whole."""
    digest = read_current(place)
    if digest is None:
        assert not os.path.lexists(place.current), "current leads nowhere"
        return None
    assert find_damage(place.version(digest), digest) == []
    release = read_state(place).release_of(digest)
    assert release is not None, f"{digest} is active, and no release is known by it"
    return release.version
