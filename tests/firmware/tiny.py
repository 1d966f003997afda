"""A made-up model whose source package is kept as golden files; run it to write them anew."""

import hashlib
import shutil
from pathlib import Path

from edgekit.bundle.mcu.view import ArenaView, PackageView, TensorView, ToleranceView, VectorView
from tests.firmware.build import write_package

FOLDER = Path(__file__).parent / "golden"
MODEL = bytes.fromhex("10000000 54464c33 0600 0800 0400 0000 08000000 03000000")
"""A flatbuffer with the root table alone, whose schema version is 3: no whole model."""


def tiny_view() -> PackageView:
    """Two inputs and two outputs of different types, labels, a name that C++ does not take."""
    return PackageView(
        id="model_2d_net",
        macro="MODEL_2D_NET",
        name="2d-Net",
        version="1.2.0-rc.1",
        artifact_sha256=hashlib.sha256(b"artifact").hexdigest(),
        model_sha256=hashlib.sha256(MODEL).hexdigest(),
        model_file="model.tflite",
        model=MODEL,
        target="nucleo-f446re",
        precision="int8",
        inputs=(
            TensorView(
                index=0, name='"x"', c_type="int8_t", tflite_type="kTfLiteInt8", shape=(1, 4), elements=4, data_bytes=4,
                rows=1, scale="5.0e-01f", zero_point=-3,
            ),
            TensorView(
                index=1, name='"count"', c_type="int32_t", tflite_type="kTfLiteInt32", shape=(1,), elements=1, rows=1,
                data_bytes=4, scale=None, zero_point=None,
            ),
        ),
        outputs=(
            TensorView(
                index=0, name='"probabilities"', c_type="int8_t", tflite_type="kTfLiteInt8", shape=(1, 3), elements=3,
                data_bytes=3, rows=1, scale="5.0e-01f", zero_point=7,
            ),
            TensorView(
                index=1, name='"features"', c_type="float", tflite_type="kTfLiteFloat32", shape=(2, 1), elements=2,
                rows=2, data_bytes=8, scale=None, zero_point=None,
            ),
        ),
        labels=('"yes"', '"no \\042maybe\\042"', '"\\303\\244"'),
        methods=("AddConv2D", "AddFullyConnected", "AddSoftmax"),
        ethos_u=None,
        arena=ArenaView(estimate=2000, default=3072, least=64, source="a host"),
        vectors=tuple(
            VectorView(
                inputs=(bytes([number, 1, 254, 255]), number.to_bytes(4, "little")),
                outputs=(bytes([5, 20, number]), bytes.fromhex("0000803f000000c0")),
            )
            for number in range(2)
        ),
        tolerances=(
            ToleranceView(max_steps=4, max_error="2.0e-02f", same_top1=True),
            ToleranceView(max_steps=4, max_error="1.0e-03f", same_top1=False),
        ),
    )  # fmt: skip


if __name__ == "__main__":
    shutil.rmtree(FOLDER, ignore_errors=True)
    write_package(tiny_view(), FOLDER)
