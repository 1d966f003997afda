"""Pairs of a delegate library and a runtime that are known not to work together."""

import pytest

from edgekit.delegate_pairs import explain_crash, known_mismatches, load_pairs
from edgekit.errors import DeviceFaultError, SelfTestError

pytestmark = pytest.mark.unit


def names(
    runtime: str,
    version: str,
    *,
    library: str = "/usr/lib/libedgetpu.so.1",
    package: str | None = None,
    python: str | None = None,
    glibc: str | None = None,
) -> list[str]:
    found = known_mismatches(runtime, version, library=library, package=package, python=python, glibc=glibc)
    return [item.name for item in found]


def test_every_shipped_pair_names_what_works() -> None:
    assert [group.library for group in load_pairs()] == ["libedgetpu"]
    assert all(item.fix and item.message for group in load_pairs() for item in group.mismatch)


@pytest.mark.parametrize(
    ("runtime", "version", "found"),
    [
        ("tflite-runtime", "2.5.0.post1", []),
        ("tflite-runtime", "2.11.0", []),
        ("tflite-runtime", "2.12.0", ["edgetpu-built-for-2.5"]),
        ("tflite-runtime", "2.14.0", ["edgetpu-built-for-2.5"]),
        ("ai-edge-litert", "1.0.1", ["edgetpu-built-for-2.5"]),
        ("another", "9", []),
    ],
)
def test_corals_own_library(runtime: str, version: str, found: list[str]) -> None:
    assert names(runtime, version) == found


def test_a_library_built_for_the_runtime_is_no_mismatch() -> None:
    assert names("tflite-runtime", "2.16.1", package="16.0tf2.16.1-1.bookworm") == []
    assert names("tflite-runtime", "2.14.0", package="16.0TF2.16.1-1") == ["edgetpu-built-for-2.5"]


def test_boards_with_mendel() -> None:
    assert names("tflite-runtime", "2.11.0", python="3.7.3") == ["edgetpu-mendel-python"]
    assert names("tflite-runtime", "2.5.0", python="3.8.0", glibc="2.28") == ["edgetpu-mendel-glibc"]
    assert names("tflite-runtime", "2.5.0", python="3.8.0", glibc="2.31") == []


def test_other_libraries_are_not_known() -> None:
    assert names("tflite-runtime", "2.14.0", library="libvx_delegate.so") == []


def test_the_finding_cites_its_source() -> None:
    (finding,) = known_mismatches("tflite-runtime", "2.14.0", library="libedgetpu.so.1")
    assert finding.severity == "warning"
    assert finding.message.startswith("libedgetpu.so.1, tflite-runtime 2.14.0: Coral's own libedgetpu")
    assert "tflite-runtime 2.5.0.post1" in finding.fix
    assert "edgetpu/issues/812" in finding.fix


def test_a_crash_names_the_pair_that_works() -> None:
    facts = {"runtime": "tflite-runtime", "version": "2.14.0", "python": "3.9.2", "glibc": "2.31", "status": -11}
    err = explain_crash(SelfTestError("It was killed by SIGSEGV.", hint="See -v.", details=facts), "libedgetpu.so.1")
    assert isinstance(err, SelfTestError)
    assert err.message.startswith("It was killed by SIGSEGV. libedgetpu.so.1, tflite-runtime 2.14.0: ")
    assert "2.5.0.post1" in err.hint
    assert err.details == facts


def test_what_is_not_known_stays_as_it_was() -> None:
    unknown = DeviceFaultError("m", hint="h", details={"runtime": "tflite-runtime", "version": "2.14.0"})
    assert explain_crash(unknown, "libvx_delegate.so") is unknown
    bare = DeviceFaultError("m", hint="h")
    assert explain_crash(bare, "libedgetpu.so.1") is bare
