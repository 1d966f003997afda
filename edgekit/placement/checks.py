"""What the keys of a rule cannot say: name in ``targets/rules/*.toml`` -> function, delegate by delegate."""

from collections.abc import Callable, Mapping

from edgekit.placement.context import Context
from edgekit.placement.edgetpu import EDGETPU_CHECKS
from edgekit.placement.gpu import GPU_CHECKS
from edgekit.placement.vela import VELA_CHECKS
from edgekit.placement.vx import VX_CHECKS
from edgekit.placement.xnnpack import XNNPACK_CHECKS
from edgekit_converters.structure import OpInfo

Check = Callable[[OpInfo, Context], str | None]
"""Returns None where the op holds to it, else the reason it does not, as the end of a sentence about the op."""


def not_confirmed(op: OpInfo, context: Context) -> str | None:  # noqa: ARG001 - a check
    """Nothing holds to it: for ops of which no public text says that, or in what form, they are taken."""
    return "not confirmed by a public text, and so left to the CPU"


CHECKS: Mapping[str, Check] = {
    "not-confirmed": not_confirmed,
    **XNNPACK_CHECKS,
    **VELA_CHECKS,
    **EDGETPU_CHECKS,
    **GPU_CHECKS,
    **VX_CHECKS,
}
"""Every name that a rule may give under ``checks``."""
