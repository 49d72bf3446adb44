"""Any quantile from those that a model gives: its own bit by bit, never crossing, never NaN; and the mean of them."""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muserve_server.tasks.forecast.quantiles import at_levels, mean, widen

KNOWN = (0.025, 0.1, 0.3, 0.5, 0.7, 0.9, 0.975)
LARGEST = float(np.finfo(np.float64).max) / 4
Floats = NDArray[np.float64]

levels = st.floats(min_value=5e-324, max_value=math.nextafter(1, 0))
numbers = st.one_of(
    st.floats(-1e3, 1e3),
    st.floats(-LARGEST, LARGEST),
    st.sampled_from([0.0, LARGEST, -LARGEST, 5e-324, 0.1]),
)
rising = st.lists(numbers, min_size=len(KNOWN), max_size=len(KNOWN)).map(sorted)


def one(quantiles: list[float]) -> Floats:
    """One series of one step."""
    return np.array(quantiles, dtype=np.float64)[None, None]


def of(distribution: NormalDist) -> Floats:
    return one([distribution.inv_cdf(level) for level in KNOWN])


@settings(max_examples=200)
@given(rising, st.permutations(KNOWN), st.booleans())
def test_at_known_levels_they_are_the_models_own(quantiles: list[float], wanted: list[float], positive: bool) -> None:
    if positive:
        quantiles = sorted(abs(value) or 1.0 for value in quantiles)
    found = at_levels(one(quantiles), KNOWN, wanted, above_zero=np.array([positive]))
    assert found.tolist() == one([quantiles[KNOWN.index(level)] for level in wanted]).tolist()


@settings(max_examples=400)
@given(rising, st.lists(levels, min_size=1, max_size=40).map(sorted), st.booleans())
def test_they_rise_are_finite_and_stay_above_zero(quantiles: list[float], wanted: list[float], positive: bool) -> None:
    if positive:
        quantiles = sorted(abs(value) or 5e-324 for value in quantiles)
    every = sorted([*wanted, *KNOWN, math.nextafter(0.975, 0), math.nextafter(0.025, 0), math.nextafter(0.025, 1)])
    found = at_levels(one(quantiles), KNOWN, every, above_zero=np.array([positive]))[0, 0]
    assert np.isfinite(found).all()
    assert (np.diff(found) >= 0).all()
    assert (found > 0).all() or not positive
    inside = [value for level, value in zip(every, found, strict=True) if KNOWN[0] <= level <= KNOWN[-1]]
    assert quantiles[0] <= min(inside) <= max(inside) <= quantiles[-1]


def test_between_two_levels_no_rounding_goes_beyond_them() -> None:
    quantiles = np.sort(np.random.default_rng(0).normal(0, 1, (20_000, 1, len(KNOWN))))
    just_below = [math.nextafter(level, 0) for level in KNOWN[1:]]
    assert (at_levels(quantiles, KNOWN, just_below) <= quantiles[..., 1:]).all()


def test_a_normal_distribution_comes_out_as_itself_between_and_beyond() -> None:
    distribution = NormalDist(12, 3)
    wanted = (1e-6, 0.01, 0.2, 0.45, 0.5, 0.8, 0.99, 1 - 1e-6)
    found = at_levels(of(distribution), KNOWN, wanted)
    np.testing.assert_allclose(found[0, 0], [distribution.inv_cdf(level) for level in wanted], rtol=1e-9)


def test_above_zero_the_tails_are_those_of_a_log_normal_distribution() -> None:
    distribution = NormalDist(0, 1)
    wanted = (1e-6, 0.01, 0.99, 1 - 1e-6)
    exact = np.exp([distribution.inv_cdf(level) for level in wanted])
    both = np.concatenate([np.exp(of(distribution)), np.exp(of(distribution))])
    found = at_levels(both, KNOWN, wanted, above_zero=np.array([True, False]))
    np.testing.assert_allclose(found[0, 0], exact, rtol=1e-9)
    assert found[1, 0, 0] < 0  # their slope goes on


@pytest.mark.parametrize("value", [0.1, 0.3, 5.0, 1e300, -7.7])
def test_where_all_is_certain_every_level_and_the_mean_are_the_same(value: float) -> None:
    flat = one([value] * len(KNOWN))
    fine = [index / 1000 for index in range(1, 1000)]
    assert (at_levels(flat, KNOWN, fine) == value).all()
    assert (at_levels(flat, KNOWN, fine, above_zero=np.array([value > 0])) == value).all()
    assert mean(flat, KNOWN)[0, 0] == value


@pytest.mark.parametrize("centre", [0.0, -4.5, 1e9])
def test_the_mean_of_a_symmetric_distribution_is_its_median(centre: float) -> None:
    random = np.random.default_rng(4)
    above = np.sort(random.exponential(3, 3))
    quantiles = one([*(centre - above[::-1]), centre, *(centre + above)])
    assert mean(quantiles, KNOWN)[0, 0] == pytest.approx(centre, rel=1e-14, abs=1e-12)


def test_the_mean_of_a_skewed_distribution_is_nearly_its_own() -> None:
    known = tuple(index / 20 for index in range(1, 20))
    exponential = one([-math.log(1 - level) for level in known])
    assert mean(exponential, known)[0, 0] == pytest.approx(1.0, abs=0.03)  # the last 5 % are extrapolated
    assert at_levels(exponential, known, (0.5,))[0, 0, 0] == pytest.approx(math.log(2))


@settings(max_examples=200)
@given(rising)
def test_the_mean_is_finite_and_is_that_of_a_fine_grid(quantiles: list[float]) -> None:
    found = mean(one(quantiles), KNOWN)[0, 0]
    assert np.isfinite(found)
    largest = max(1.0, np.abs(quantiles).max())
    if largest < 1e300:
        fine = at_levels(one(quantiles), KNOWN, [(index + 0.5) / 200 for index in range(200)])[0, 0]
        assert found == pytest.approx(fine.mean(), rel=1e-9, abs=1e-9 * largest)


def test_the_mean_of_a_row_does_not_depend_on_the_others() -> None:
    quantiles = np.sort(np.random.default_rng(0).normal(0, 1, (50, 7, len(KNOWN))))
    together = mean(quantiles, KNOWN)
    for row in range(50):
        assert mean(quantiles[row : row + 1], KNOWN)[0].tobytes() == together[row].tobytes()


def test_two_levels_are_enough() -> None:
    found = at_levels(one([1.0, 2.0]), (0.1, 0.5), (0.1, 0.5, 0.9))
    assert found[0, 0].tolist() == [1.0, 2.0, pytest.approx(3.0)]


def test_spread_scales_the_distance_from_the_median() -> None:
    quantiles = np.array([[[1.0, 2.0, 4.0]]])
    assert widen(quantiles, 1, 1.0).tolist() == quantiles.tolist()
    assert widen(quantiles, 1, 0.5).tolist() == [[[1.5, 2.0, 3.0]]]


def test_what_was_uncertain_before_is_added_and_never_less() -> None:
    before = np.array([[-3.0, 0.0, 4.0]])
    found = widen(np.array([[[6.0, 10.0, 13.0], [10.0, 10.0, 10.0]]]), 1, 1.0, before)
    assert found[0, 0].tolist() == [10 - 5, 10, 10 + 5]  # 3 and 4 make 5, as independent errors do
    assert found[0, 1].tolist() == [7, 10, 14]  # a run that is certain does not make the last one's doubts vanish
