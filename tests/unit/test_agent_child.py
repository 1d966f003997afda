"""The agent's own processes, in which delegates misbehave."""

import pytest

from edgekit.agent import child
from edgekit.agent.child import Child

pytestmark = pytest.mark.unit
HANGS = 'import os, time; os.write(1, b\'{"event": "done"}\\n\'); os.close(1); time.sleep(60)'
"""A delegate that waits for its own threads while the process ends: the answer is there, the end never comes."""


def test_a_process_that_answers_and_does_not_end_is_not_waited_for_without_limit(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(child, "START", HANGS)
    monkeypatch.setattr(child, "HEARTBEAT_S", 0.02)
    waited = []

    def on_wait() -> None:
        waited.append(True)
        if len(waited) == 3:
            raise TimeoutError

    process = Child("self-test", {})
    try:
        with pytest.raises(TimeoutError):
            process.finish(on_wait=on_wait)
    finally:
        process.kill()
