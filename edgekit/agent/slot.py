"""A release in an A/B slot, between the switch that the update client did and the mark that the slot is good.

Applications read the slot through one path that moves from slot to slot, which is given. Nothing is written here: what
is active, and what was before, is the update client's.
"""

import os

from .events import AgentError
from .hooks import Sight, tell, tell_and_check
from .host import Host
from .layout import model_name, read_manifest
from .release import Release, read_release


def activated(release: Release, shown: str, host: Host) -> None:
    """Tell the application that ``shown`` leads to this release now, and ask whether it is healthy with it.

    Raises AgentError ``gate`` where it is not, ``device`` where something else is there. Emits ``hook``.
    """
    shown = os.path.abspath(shown)
    if not os.path.isdir(shown) or not os.path.samefile(shown, release.folder):
        raise AgentError(
            "device",
            "%s does not lead to this release, which is in %s." % (shown, release.folder),
            "Switch first: --activated is for the release that applications see, and takes the path they see it by.",
        )
    tell_and_check(release.hooks, _sight(release, shown), host)


def fallen_back(release: Release, shown: str, host: Host) -> bool:
    """Tell the application what ``shown`` leads to, after the way back from a release that was not good.

    The command is that of ``release``: the one that is active again, or where none is, the one that was left. What it
    says decides nothing; emits ``untold``. Returns whether a release is active.
    """
    shown = os.path.abspath(shown)
    active = read_release(shown) if os.path.isdir(shown) else None
    sight = Sight(release.name, None, None, _artifact(shown)) if active is None else _sight(active, shown)
    tell(release.hooks.on_activate, sight, host)
    return active is not None


def _sight(release: Release, shown: str) -> Sight:
    folder = _artifact(shown)
    model = model_name(read_manifest(release.path("artifact"), release.digest))
    return Sight(release.name, release.digest, os.path.join(folder, model), folder)


def _artifact(shown: str) -> str:
    return os.path.join(shown, "artifact")
