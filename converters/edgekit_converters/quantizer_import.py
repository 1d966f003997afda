"""The first import of ai-edge-quantizer, without what it imports and edgekit never runs.

Its GPTQ module imports scipy.linalg: two fifths of the whole (0.6 s, 11 MiB; numpy.f2py is among it). scipy loads its
parts on first use anyway, so a stand-in during the import is all it takes: GPTQ would still work.
"""

import sys
from types import ModuleType

DEFERRED = "scipy.linalg"


def import_quantizer() -> None:
    """Import it once; nothing happens where it, or scipy.linalg, is there already."""
    if "ai_edge_quantizer" in sys.modules or DEFERRED in sys.modules:
        return
    stand_in = ModuleType(DEFERRED)
    sys.modules[DEFERRED] = stand_in
    try:
        import ai_edge_quantizer  # noqa: F401 - for its effect
    finally:
        if sys.modules.get(DEFERRED) is stand_in:
            del sys.modules[DEFERRED]
