"""A precision becomes a scheme: what is asked for, within what the target takes."""

from typing import Any

import pytest
from msgspec.structs import replace

from edgekit.errors import ProjectError, TargetError
from edgekit.project import Build
from edgekit.scheme import decide_precision, decide_scheme
from edgekit.target import Target, load_target
from edgekit_converters.types import Scheme

pytestmark = pytest.mark.unit


def board(name: str = "rpi4", **rules: Any) -> Target:
    target = load_target(name)
    return replace(target, quantization=replace(target.quantization, **rules))


@pytest.mark.parametrize(
    ("precision", "wishes", "target", "scheme"),
    [
        ("int8", Build(), board(), Scheme(precision="int8", io="int8")),
        ("auto", Build(), board(), Scheme(precision="int8", io="int8")),
        ("dynamic", Build(weight_bits=4), board(), Scheme(precision="dynamic", weight_bits=4)),
        ("int16x8", Build(), board(), Scheme(precision="int16x8", io="int16")),
        ("int16x8", Build(io="float32"), board(), Scheme(precision="int16x8")),
        ("int16x8", Build(), board("ethos-u55-128"), Scheme(precision="int16x8", io="int16")),
        (
            "int8",
            Build(granularity="per-tensor", activations="symmetric"),
            board(),
            Scheme(
                precision="int8",
                io="int8",
                per_channel=False,
                per_channel_fully_connected=False,
                symmetric_activations=True,
            ),
        ),
        (
            "int8",
            Build(),
            board(per_channel=False, symmetric_activations=True),
            Scheme(
                precision="int8",
                io="int8",
                per_channel=False,
                per_channel_fully_connected=False,
                symmetric_activations=True,
            ),
        ),
        (
            "int8",
            Build(),
            board(per_channel_fully_connected=False),
            Scheme(precision="int8", io="int8", per_channel_fully_connected=False),
        ),
    ],
)
def test_the_rules_of_the_target_and_the_wishes_of_the_user(
    precision: Any, wishes: Build, target: Target, scheme: Scheme
) -> None:
    assert decide_scheme(decide_precision(precision, target), wishes, target) == scheme


@pytest.mark.parametrize(
    ("precision", "wishes", "target", "error", "message"),
    [
        ("int8", Build(weight_bits=4), board("ethos-u55-128"), TargetError, "no kernels for int4 weights"),
        ("int8", Build(granularity="per-channel"), board(per_channel=False), TargetError, "one scale per tensor only"),
        (
            "int8",
            Build(activations="affine"),
            board(symmetric_activations=True),
            TargetError,
            "needs symmetric activations",
        ),
        ("int8", Build(io="int16"), board(), ProjectError, "int8 models take and give int8 or uint8 or float32"),
        (
            "int16x8",
            Build(io="uint8"),
            board(),
            ProjectError,
            "int16x8 models take and give int16 or float32; io uint8",
        ),
        ("int8", Build(io="float32"), board("ethos-u55-128"), TargetError, "int8, int16; float32 was asked for"),
        ("int16x8", Build(), board(io_dtypes=("int8",)), TargetError, "int8; int16 or float32 was asked for"),
        ("int16x8", Build(), board("coral-usb"), TargetError, "coral-usb takes int8; int16x8 was asked for"),
    ],
)
def test_what_cannot_be(precision: Any, wishes: Build, target: Target, error: Any, message: str) -> None:
    with pytest.raises(error, match=message) as caught:
        decide_scheme(decide_precision(precision, target), wishes, target)
    assert caught.value.hint
