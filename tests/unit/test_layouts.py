"""Which axes a converter turned, told from shapes and values."""

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from edgekit_converters.layouts import candidates, channels_last, choose, identity

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("source", "converted", "expected"),
    [
        ((1, 3, 32, 32), (1, 32, 32, 3), [(0, 2, 3, 1)]),
        ((1, 3, 32, 32), (1, 3, 32, 32), [(0, 1, 2, 3)]),
        ((1, 10), (1, 10), [(0, 1)]),
        ((1, 4420, 2), (1, 4420, 2), [(0, 1, 2)]),
        ((1, 8, 8, 8), (1, 8, 8, 8), [(0, 1, 2, 3), (0, 2, 3, 1)]),
        ((1, 1, 28, 28), (1, 28, 28, 1), [(0, 2, 3, 1)]),
        ((1, 1, 1, 5), (1, 1, 1, 5), [(0, 1, 2, 3)]),
        ((2, 3, 4), (4, 3, 2), [(2, 1, 0)]),
        ((), (), [()]),
        ((1, 10), (1, 11), []),
        ((1, 10), (10,), []),
    ],
)
def test_candidates(source: tuple[int, ...], converted: tuple[int, ...], expected: list[tuple[int, ...]]) -> None:
    assert candidates(source, converted) == expected


@given(shape=st.lists(st.integers(1, 3), max_size=5).map(tuple), data=st.data())
def test_whatever_the_transposition_one_candidate_gives_the_same_data(shape: tuple[int, ...], data: Any) -> None:
    axes = data.draw(st.permutations(range(len(shape))))
    array = np.arange(int(np.prod(shape))).reshape(shape)
    turned = array.transpose(axes)
    found = candidates(shape, turned.shape)
    assert found
    if axes in ([*identity(len(shape))], [*channels_last(len(shape))]):
        assert any((array.transpose(each) == turned).all() for each in found)


def first_and_last(arrays: Any) -> dict[str, Any]:
    """A network in NCHW with two outputs, one of each layout."""
    return {"same": arrays["x"] * 2, "flat": arrays["x"].sum(axis=(2, 3))}


@pytest.mark.parametrize("turned", [identity(4), channels_last(4)])
def test_equal_dimensions_are_told_apart_by_value(turned: tuple[int, ...]) -> None:
    probe = {"x": np.random.default_rng(0).random((1, 4, 4, 4))}
    wanted = first_and_last(probe)

    def converted(arrays: Any) -> dict[str, Any]:
        back = first_and_last({"x": arrays["x"].transpose(np.argsort(turned))})
        return {"same": back["same"].transpose(turned), "flat": back["flat"] + 1e-7}

    both = candidates((1, 4, 4, 4), (1, 4, 4, 4))
    assert len(both) == 2
    inputs, outputs = choose(
        {"x": both}, {"same": both, "flat": [identity(2)]}, probe=probe, wanted=wanted, converted=converted
    )
    assert inputs == {"x": turned}
    assert outputs == {"same": turned, "flat": identity(2)}


def test_without_a_doubt_nothing_is_run() -> None:
    def never(_arrays: Any) -> dict[str, Any]:
        raise AssertionError("there was no doubt")

    found = choose({"x": [channels_last(4)]}, {"y": [identity(2)], "z": []}, probe={}, wanted={}, converted=never)
    assert found == ({"x": channels_last(4)}, {"y": identity(2)})


def test_the_likeliest_wins_where_values_say_nothing() -> None:
    probe = {"x": np.ones((1, 2, 2, 2))}
    both = candidates((1, 2, 2, 2), (1, 2, 2, 2))
    inputs, _ = choose(
        {"x": both}, {"y": both}, probe=probe, wanted={"y": probe["x"]}, converted=lambda a: {"y": a["x"]}
    )
    assert inputs == {"x": identity(4)}


def test_not_a_number_matches_nothing() -> None:
    probe = {"x": np.random.default_rng(1).random((1, 2, 2, 2))}
    both = candidates((1, 2, 2, 2), (1, 2, 2, 2))

    def converted(arrays: Any) -> dict[str, Any]:
        hurt = arrays["x"] is not None and np.array_equal(arrays["x"], probe["x"])
        return {"y": np.full((1, 2, 2, 2), np.nan) if hurt else probe["x"]}

    inputs, _ = choose({"x": both}, {"y": both}, probe=probe, wanted={"y": probe["x"]}, converted=converted)
    assert inputs == {"x": channels_last(4)}
