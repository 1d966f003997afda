"""ai-edge-quantizer without scipy.linalg, which only its GPTQ needs."""

import subprocess
import sys

import pytest

pytestmark = pytest.mark.unit

SCRIPT = """
import sys
from edgekit_converters.quantizer_import import import_quantizer
import_quantizer()
import_quantizer()
assert "scipy.linalg" not in sys.modules, "it was deferred"
from ai_edge_quantizer.algorithms.uniform_quantize import gptq
assert callable(gptq.scipy.linalg.lapack.strtri), "and comes on first use"
"""


def test_scipy_linalg_is_deferred_and_not_lost() -> None:
    subprocess.run([sys.executable, "-c", SCRIPT], check=True, timeout=60)
