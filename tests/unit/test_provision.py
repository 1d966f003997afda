"""Which runtime a machine gets."""

import pytest

from edgekit.errors import DeviceFaultError
from edgekit.provision import Machine, choose_runtime, read_machine

pytestmark = pytest.mark.unit


def machine(**changes: object) -> Machine:
    settings = {
        "python": (3, 11),
        "implementation": "cpython",
        "architecture": "aarch64",
        "glibc": (2, 36),
        "numpy": False,
    }
    return Machine(**{**settings, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "requirement", "newest"),
    [
        ({}, "ai-edge-litert==", "manylinux_2_36_aarch64"),
        ({"python": (3, 13), "architecture": "x86_64"}, "ai-edge-litert==", "manylinux_2_36_x86_64"),
        ({"python": (3, 9), "glibc": (2, 31)}, "tflite-runtime", "manylinux_2_31_aarch64"),
        ({"python": (3, 7), "glibc": (2, 27)}, "tflite-runtime", "manylinux_2_27_aarch64"),
        ({"architecture": "armv7l", "numpy": True}, "tflite-runtime", "manylinux_2_36_armv7l"),
    ],
)
def test_the_newest_runtime_that_fits(changes: dict[str, object], requirement: str, newest: str) -> None:
    choice = choose_runtime("pi", machine(**changes))
    assert choice.requirements[0].startswith(requirement)
    assert choice.platforms[0] == newest
    assert choice.platforms[-1].startswith("manylinux2014_")
    assert choice.system_packages == ("armv7l" in newest)


def test_tflite_runtime_gets_a_numpy_it_was_built_for() -> None:
    assert "numpy<2" in choose_runtime("pi", machine(python=(3, 9))).requirements


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"glibc": None}, "no glibc"),
        ({"architecture": "riscv64"}, "no TFLite runtime has wheels"),
        ({"python": (3, 15)}, "3.15"),
        ({"implementation": "pypy"}, "pypy"),
        ({"architecture": "armv7l"}, "32-bit ARM without numpy"),
        ({"python": (3, 12), "glibc": (2, 24)}, "glibc 2.24"),
    ],
)
def test_what_does_not_fit_is_named(changes: dict[str, object], message: str) -> None:
    with pytest.raises(DeviceFaultError, match=message) as caught:
        choose_runtime("pi", machine(**changes))
    assert caught.value.hint


def test_a_32_bit_system_on_a_64_bit_kernel_is_armv7l() -> None:
    probe = {
        "python": [3, 11, 2], "implementation": "cpython", "architecture": "aarch64", "bits": 32,
        "libc": "glibc", "libc_version": "2.36", "numpy": True,
    }  # fmt: skip
    assert read_machine(probe) == machine(architecture="armv7l", numpy=True)
    assert read_machine({**probe, "bits": 64, "libc": "", "libc_version": ""}).glibc is None
