"""Versions against the rules and examples of semver.org."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit.agent.versions import PATTERN, parse

pytestmark = pytest.mark.unit

PRECEDENCE = [
    ["1.0.0", "2.0.0", "2.1.0", "2.1.1"],
    ["1.0.0-alpha", "1.0.0"],
    [
        "1.0.0-alpha",
        "1.0.0-alpha.1",
        "1.0.0-alpha.beta",
        "1.0.0-beta",
        "1.0.0-beta.2",
        "1.0.0-beta.11",
        "1.0.0-rc.1",
        "1.0.0",
    ],
    ["0.9.9", "0.10.0", "0.10.1-0", "0.10.1-1", "0.10.1--", "0.10.1-1a", "0.10.1-A", "0.10.1-a", "0.10.1"],
]
"""semver.org, 11.2 to 11.4, and what a comparison of texts would get wrong; each before the next."""
NONE = [
    *["1", "1.2", "01.1.1", "1.01.1", "1.1.01", "1.2.3.4", "1.2.3-", "1.2.3-a..b", "1.2.3-01", "1.2.3-a.01", "v1.2.3"],
    *["1.2.3-a_b", "+1.2.3", "1.2.3+build", "-1.0.0", "1.2.3-\u0661", "1.2.3-\u00e9", "1.\u0661.3", "1e3.0.0"],
    *["1.0.0-rc/1", "1234567890.0.0", "", " 1.0.0", "1.0.0\n", "1.0.0 ", "1.0.0-a\n"],
    *["1.0.0-" + "a" * 33, "1.0.0-" + "9" * 10, "1.0.0-" + ".".join("abcdefghi")],
]

number = st.integers(0, 999_999_999).map(str)
identifier = number | st.from_regex(r"\A[0-9]{0,9}[A-Za-z-][0-9A-Za-z-]{0,9}\Z")
pre_release = st.lists(identifier, min_size=1, max_size=8).map(lambda parts: "-" + ".".join(parts)) | st.just("")
versions = st.tuples(number, number, number, pre_release).map(lambda parts: ".".join(parts[:3]) + parts[3])


@pytest.mark.parametrize("order", PRECEDENCE)
def test_precedence_is_that_of_semver(order: list[str]) -> None:
    assert sorted(set(order), key=parse) == order
    assert len(set(map(parse, order))) == len(order)


@pytest.mark.parametrize("text", NONE)
def test_what_is_no_version_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="is no version such as"):
        parse(text)


@given(versions, versions)
def test_every_version_is_read_and_the_order_is_total(one: str, other: str) -> None:
    assert re.search(PATTERN, one)
    assert (parse(one) == parse(other)) == (one == other), "what is equal is the same text: nothing has no order"
    assert (parse(one) < parse(other)) != (parse(one) >= parse(other))


@given(st.text(alphabet="0123456789.-+aA\n", max_size=40))
def test_any_text_is_a_version_or_a_value_error(text: str) -> None:
    try:
        parse(text)
    except ValueError:
        assert not re.search(PATTERN, text)
