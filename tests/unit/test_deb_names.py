"""Names and versions among Debian packages; the order is asked of the real dpkg."""

import itertools
import shutil
import subprocess

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from edgekit.agent.versions import parse
from edgekit.bundle.deb.names import (
    PACKAGE,
    checked_package,
    debian_architecture,
    debian_version,
    package_name,
    release_version,
)
from edgekit.bundle.entries import SemVer
from edgekit.errors import BundleError
from edgekit.project import ModelName
from edgekit.target import load_target

pytestmark = pytest.mark.unit
NUMBER = st.integers(0, 12) | st.just(999_999_999)
IDENTIFIER = NUMBER.map(str) | st.from_regex(r"[abAB]{1,3}|rc|rcx|alpha", fullmatch=True)
CORE = st.lists(st.integers(0, 11), min_size=3, max_size=3).map(lambda numbers: ".".join(map(str, numbers)))
PRE = st.lists(IDENTIFIER, max_size=4).map(lambda parts: "-" + ".".join(parts) if parts else "")
VERSION = st.builds(str.__add__, CORE, PRE)
NEAR = st.builds(str.__add__, st.sampled_from(["1.0.0", "1.0.1"]), PRE)
"""Most pairs of these differ in their pre-release alone."""


@settings(max_examples=8)
@given(st.lists(VERSION | NEAR, min_size=12, max_size=12, unique=True))
def test_dpkg_orders_them_as_semver_does(versions: list[str]) -> None:
    dpkg = shutil.which("dpkg")
    if dpkg is None:
        pytest.skip("no dpkg on this machine")
    pairs = list(itertools.combinations(versions, 2))
    # one process a pair costs 2 ms; one shell asks for all of them
    questions = [
        f"{dpkg} --compare-versions '{debian_version(a)}' lt '{debian_version(b)}' && echo lt || echo ge"
        for a, b in pairs
    ]
    said = subprocess.run(["sh", "-c", "\n".join(questions)], capture_output=True, text=True, check=True)
    assert said.stderr == ""
    expected = ["lt" if parse(a) < parse(b) else "ge" for a, b in pairs]
    assert dict(zip(pairs, said.stdout.split(), strict=True)) == dict(zip(pairs, expected, strict=True))


@given(VERSION)
def test_it_can_be_taken_back(version: str) -> None:
    assert release_version(debian_version(version)) == version
    assert msgspec.convert(version, SemVer) == version


@given(st.text(alphabet="0123456789.~abA-+:", max_size=16))
def test_no_other_text_is_taken_back(text: str) -> None:
    version = release_version(text)
    assert version is None or debian_version(version) == text


@pytest.mark.parametrize(
    ("version", "expected"),
    [
        ("1.0.0", "1.0.0"),
        ("1.0.0-rc.1", "1.0.0~rc~1"),
        ("1.0.0-rc", "1.0.0~rc~~"),
        ("1.0.0-1.2", "1.0.0~1.2"),
        ("1.0.0-0.alpha.3", "1.0.0~0.alpha~3"),
    ],
)
def test_what_they_look_like(version: str, expected: str) -> None:
    assert debian_version(version) == expected


@pytest.mark.parametrize("version", ["1.0.0-rc1", "1.0.0-rc.1a", "1.0.0-a-b", "1.0.0-alpha.-"])
def test_an_order_that_debian_does_not_have_is_refused(version: str) -> None:
    with pytest.raises(BundleError, match="does not order the pre-release") as caught:
        debian_version(version)
    assert "1.0.0-rc.1" in caught.value.hint


@given(st.from_regex(r"[A-Za-z0-9][A-Za-z0-9._-]{0,62}", fullmatch=True))
def test_every_model_has_a_package_name(model: str) -> None:
    assert msgspec.convert(model, ModelName) == model
    assert PACKAGE.match(package_name(model))


def test_package_names() -> None:
    assert package_name("KWS_micro.v2") == "edgekit-model-kws-micro.v2"
    assert checked_package("acme-kws") == "acme-kws"
    for name in ("A", "a", "", "a_b", "-a", "a\nb"):
        with pytest.raises(BundleError, match="cannot be the name"):
            checked_package(name)


def test_architectures() -> None:
    assert debian_architecture(load_target("rpi4")) == "arm64"
    assert debian_architecture(load_target("x86-64")) == "amd64"
    for name in ("android-arm64", "nucleo-f446re"):
        with pytest.raises(BundleError, match="no Debian package is installed there"):
            debian_architecture(load_target(name))
