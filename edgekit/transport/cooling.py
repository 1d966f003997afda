"""While a device cools down nothing else happens for minutes: the user is told why."""

import logging
from collections.abc import Mapping
from typing import Any

log = logging.getLogger(__name__)

COOLING_S = 30.0
"""Between two messages."""
COOLING_LOOK_S = 2.0
"""Between two ``cooling`` events of the agent (edgekit/agent/cooldown.py)."""


def say_cooling(event: Mapping[str, Any], name: str) -> None:
    """Log an agent's ``cooling`` event, every half a minute."""
    waited, known = event.get("waited_s"), ("zone", "temperature_c", "limit_c", "timeout_s")
    if isinstance(waited, int | float) and waited % COOLING_S < COOLING_LOOK_S:
        facts = {key: str(event.get(key))[:40] for key in known}
        log.warning(
            "%s: waiting until it is cool: %s at %s C, %s C asked for; %.0f s of at most %s",
            name, facts["zone"], facts["temperature_c"], facts["limit_c"], waited, facts["timeout_s"],
        )  # fmt: skip
