"""The lab's power cuts: as many as promised whatever the machine's speed, and an end where there are none."""

import pytest

from tests.lab.clients.cuts import PowerCuts
from tests.lab.clients.types import Outcome

pytestmark = pytest.mark.unit


def play(cuts: PowerCuts, length_s: float) -> list[float]:
    """Moments of the power cuts among installations that take ``length_s``."""
    moments = []
    while cuts.left:
        moment = cuts.moment()
        killed = moment < length_s
        cuts.saw(Outcome(accepted=not killed, killed=killed, output="", seconds=min(moment, length_s)))
        moments += [moment] if killed else []
    return moments


@pytest.mark.parametrize("measured_s", [0.5, 1.0, 4.0])
def test_cuts_come_anywhere_although_the_length_was_measured_on_a_slower_or_faster_machine(measured_s: float) -> None:
    moments = play(PowerCuts(50, measured_s), length_s=1.0)
    assert len(moments) == 50
    assert min(moments) < 0.2
    assert max(moments) > 0.8


def test_installations_that_are_never_cut_end_the_test() -> None:
    cuts = PowerCuts(5, 1e9)
    for _ in range(15):
        cuts.moment()
    with pytest.raises(AssertionError, match="15 tries, and 5 power cuts are still to come"):
        cuts.moment()
