"""What the keys of a rule cannot say: name in ``targets/rules/*.toml`` -> function, delegate by delegate."""

from collections.abc import Callable, Mapping

from edgekit.placement.context import Context
from edgekit.placement.edgetpu import EDGETPU_CHECKS
from edgekit.placement.gpu import GPU_CHECKS
from edgekit.placement.vela import VELA_CHECKS
from edgekit.placement.xnnpack import XNNPACK_CHECKS
from edgekit_converters.structure import OpInfo

Check = Callable[[OpInfo, Context], str | None]
"""Returns None where the op holds to it, else the reason it does not, as the end of a sentence about the op."""

CHECKS: Mapping[str, Check] = {**XNNPACK_CHECKS, **VELA_CHECKS, **EDGETPU_CHECKS, **GPU_CHECKS}
"""Every name that a rule may give under ``checks``."""
