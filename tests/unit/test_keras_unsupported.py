"""What TensorFlow's converter says of operators that TensorFlow Lite does not have, as edgekit says it."""

import pytest

from edgekit_converters.errors import ConversionError
from edgekit_converters.from_keras import _raise_if_unsupported

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("op", "hint"),
    [
        ("tf.TensorListReserve", "Build from the .keras or .h5 file, whose recurrent layers can be written out"),
        ("tf.Cholesky", "Replace them by layers built from ordinary operations"),
    ],
)
def test_the_next_step_fits_the_operator(op: str, hint: str) -> None:
    with pytest.raises(ConversionError, match=f"does not have: {op}") as caught:
        _raise_if_unsupported(ValueError(f"error: '{op}' op is neither a custom op nor a flex op"))
    assert caught.value.hint.startswith(hint)
