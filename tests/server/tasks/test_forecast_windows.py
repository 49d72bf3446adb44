"""From series to windows and back: nothing depends on the neighbours or the scale, and nothing is ever NaN."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muserve_server.tasks.forecast.windows import CHANNELS, STATIC_FEATURES, Windows, fill_gaps, make_windows, restore

NAN = math.nan
CONTEXT_STEPS, WINDOW_STEPS, HORIZON_STEPS, FREQUENCY, FREQUENCIES = 48, 24, 15, 2, 5
Floats = NDArray[np.float64]


def windows_of(*series: Sequence[float] | Floats, periods: Sequence[int] = (12,), linear: Any = False) -> Windows:
    past = np.full((len(series), CONTEXT_STEPS), np.nan)
    for row, values in enumerate(series):
        newest = np.asarray(values, dtype=np.float64)[-CONTEXT_STEPS:]
        past[row, CONTEXT_STEPS - len(newest) :] = newest
    return make_windows(
        past, periods=periods, window_steps=WINDOW_STEPS, horizon_steps=HORIZON_STEPS, frequency=FREQUENCY,
        frequencies=FREQUENCIES, linear=linear,
    )  # fmt: skip


def continued(*series: Sequence[float] | Floats, answer: float = 0.0, **keywords: Any) -> Floats:
    """What comes back when the graph answers with one number throughout: [series, horizon]."""
    windows = windows_of(*series, **keywords)
    return restore(np.full((len(series), HORIZON_STEPS, 1), answer, np.float32), windows)[:, :, 0]


def some_series(count: int, seed: int = 0) -> list[Floats]:
    """Walks of all lengths: positive and not, with gaps and without, on all scales."""
    random = np.random.default_rng(seed)
    made = []
    for index in range(count):
        values = random.normal(0, 1, random.integers(3, 60)).cumsum()
        values = np.exp(values / 5) if index % 2 else values
        if index % 3 == 0:
            values[1:-1][random.random(len(values) - 2) < 0.3] = np.nan
        made.append(values * 10.0 ** random.integers(-6, 12))
    return made


def seasonal(steps: int, period: int, *, log: bool) -> Floats:
    """The same season again and again; without `log` below zero too."""
    season = np.random.default_rng(period).normal(0, 1, period)
    repeated = np.tile(season, -(-steps // period))[:steps]
    return 50 * np.exp(repeated / 2) if log else 50 * repeated


@pytest.mark.parametrize("company", [1, 2, 3, 7, 64])
def test_the_bits_of_a_row_do_not_depend_on_its_batch_mates(company: int) -> None:
    everyone = some_series(96)
    answers = np.random.default_rng(1).normal(0, 3, (96, HORIZON_STEPS, 5)).astype(np.float32)
    alone = [windows_of(series) for series in everyone]
    for start in range(0, 96, company):
        together = windows_of(*everyone[start : start + company])
        restored = restore(answers[start : start + company], together)
        for row, single in enumerate(alone[start : start + company]):
            for name, found in vars(single).items():
                assert found[0].tobytes() == getattr(together, name)[row].tobytes(), name
            assert restored[row].tobytes() == restore(answers[start + row][None], single)[0].tobytes()


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize("factor", [1e-6, 0.37, 1e3, 1e12])
def test_what_a_series_is_multiplied_by_its_answer_is_too(factor: float, log: bool) -> None:
    random = np.random.default_rng(5)
    values = seasonal(48, 12, log=log) + random.normal(0, 3, 48) + (60 if log else 0)
    plain, scaled = windows_of(values), windows_of(values * factor)
    assert plain.is_log[0] == scaled.is_log[0] == log
    np.testing.assert_allclose(scaled.window, plain.window, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(scaled.static_features, plain.static_features, rtol=1e-5, atol=1e-6)
    answer = random.normal(0, 2, (1, HORIZON_STEPS, 3)).astype(np.float32)
    np.testing.assert_allclose(restore(answer, scaled), restore(answer, plain) * factor, rtol=1e-12)


def test_a_mirrored_series_has_the_mirrored_window() -> None:
    values = some_series(1)[0]
    plain, mirrored = windows_of(values), windows_of(-values)
    np.testing.assert_allclose(mirrored.window[..., :3], -plain.window[..., :3], rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(restore(np.zeros((1, 4, 1)), mirrored), -restore(np.zeros((1, 4, 1)), plain))


@pytest.mark.parametrize("log", [True, False])
@pytest.mark.parametrize(("periods", "length"), [((12,), 48), ((12,), 37), ((4,), 48), ((4, 12), 48), ((4,), 11)])
@pytest.mark.parametrize("answer", [0.0, 5.0])
def test_an_exact_season_goes_on_exactly(log: bool, periods: tuple[int, ...], length: int, answer: float) -> None:
    """Whatever the graph says: what is left of the series does not move."""
    values = seasonal(length + HORIZON_STEPS, max(periods), log=log)
    found = continued(values[:length], periods=periods, answer=answer)
    np.testing.assert_allclose(found[0], values[length:], rtol=1e-9, atol=1e-9)


def test_the_graph_answers_in_typical_steps_from_the_last_level() -> None:
    assert continued([0.0, 2, 4, 8, 6], periods=())[0].tolist() == [6.0] * HORIZON_STEPS
    assert continued([0.0, 2, 4, 8, 6], periods=(), answer=2.0)[0] == pytest.approx(6 + 2 * 2.5)  # steps of 2, 2, 4, 2
    assert continued([1.0, 2, 8], periods=())[0].tolist() == [8.0] * HORIZON_STEPS
    assert continued([1.0, 2, 8], periods=(), answer=-1.0)[0] == pytest.approx(8 / 8**0.5)  # factors of 2 and 4
    assert continued([0.0, 2, NAN, NAN], periods=())[0].tolist() == [2.0] * HORIZON_STEPS


def test_seasons_go_on_through_gaps_and_after_one_at_the_end() -> None:
    values = seasonal(48 + HORIZON_STEPS, 12, log=True)
    known = values[:48].copy()
    known[45:] = np.nan
    np.testing.assert_allclose(continued(known)[0], values[48:], rtol=0.05)
    known[[3, 20]] = np.nan
    np.testing.assert_allclose(continued(known)[0], values[48:], rtol=0.1)


def test_shorter_than_two_seasons_there_is_none() -> None:
    values = seasonal(48, 12, log=True)
    for length in (3, 12, 13, 23, 24, 29):  # a month and a half of each is needed to tell it from chance
        windows = windows_of(values[:length])
        assert not windows.season.any()
        assert windows.static_features[0, 1] == 0
    assert windows_of(values[:30]).static_features[0, 1] == pytest.approx(1)


def test_chance_is_no_season() -> None:
    """A season as large as chance makes it is taken out by little; a plain one nearly whole."""
    noise = np.random.default_rng(3).normal(0, 1, (200, 48))
    plain = noise + 5 * np.sin(np.arange(48) * np.pi / 6)
    assert windows_of(*noise).static_features[:, 1].mean() < 0.25
    assert windows_of(*plain).static_features[:, 1].mean() > 0.9


@pytest.mark.parametrize("value", [7.25, -7.25, 0.0, 1e300, -1e300, 1e-300, 5e-324, 0.1])
@pytest.mark.parametrize("length", [1, 3, 48])
@pytest.mark.parametrize("answer", [0.0, -60.0, 60.0])
def test_a_constant_goes_on_as_it_is(value: float, length: int, answer: float) -> None:
    assert (continued([value] * length, answer=answer) == value).all()
    gaps = [value, *[NAN] * length, value]
    assert (continued(gaps, answer=answer) == value).all()


def test_above_zero_is_continued_above_zero() -> None:
    values = np.linspace(100, 1, 30)
    assert (continued(values, answer=-60.0) > 0).all()
    assert (continued(values - 1, answer=-60.0) < 0).all()
    falling = continued(10.0 ** -np.arange(0, 300, 10.0), answer=-60.0)
    assert (falling > 0).all()


def test_linear_takes_no_logarithm() -> None:
    series = some_series(8)
    assert windows_of(*series).is_log.any()
    assert not windows_of(*series, linear=True).is_log.any()
    chosen = np.array([True, False] * 4)
    mixed = windows_of(*series, linear=chosen)
    assert (mixed.is_log == windows_of(*series).is_log & ~chosen).all()


def test_the_window_says_what_is_missing() -> None:
    windows = windows_of([1, 2, NAN, 4, 5, NAN])
    assert windows.window.shape == (1, WINDOW_STEPS, CHANNELS)
    assert windows.window[0, :-6].any() == False  # noqa: E712 - nothing before it began
    assert windows.window[0, -6:, 3].tolist() == [1, 1, 0, 1, 1, 0]
    assert not windows.window[0, [-4, -1]].any()
    assert windows.static_features.shape == (1, STATIC_FEATURES + FREQUENCIES)
    assert windows.static_features[0, STATIC_FEATURES:].tolist() == [0, 0, 1, 0, 0]
    assert windows.static_features[0, 2] == np.float32(4 / CONTEXT_STEPS)


def test_values_without_neighbours_still_have_a_typical_step() -> None:
    """Every other step missing: a step of 0 would make a flat forecast of which nothing is uncertain."""
    values = np.where(np.arange(24) % 2 == 0, 100.0 + np.arange(24) % 5, NAN)
    windows = windows_of(values, periods=())
    dense = windows_of(values[::2], periods=())
    assert 0.2 * dense.step[0] < windows.step[0] < dense.step[0]
    wholly_missing = windows_of([*np.arange(10.0), *[NAN] * WINDOW_STEPS], periods=())
    assert wholly_missing.step[0] > 0


def test_fill_gaps_draws_straight_lines() -> None:
    filled, present = fill_gaps(np.array([[NAN, 1, NAN, NAN, 4, NAN], [1, 2, 3, 4, 5, 6]]))
    assert filled.tolist() == [[1, 1, 2, 3, 4, 4], [1, 2, 3, 4, 5, 6]]
    assert present[0].tolist() == [False, True, False, False, True, False]
    assert present[1].all()
    huge, _ = fill_gaps(np.array([[1.7e308, NAN, NAN, -1.7e308]]))
    assert huge[0] == pytest.approx([1.7e308, 1.7e308 / 3, -1.7e308 / 3, -1.7e308])
    least, _ = fill_gaps(np.array([[1e-323, 5e-324, 5e-323, *[NAN] * 5, 5e-324]]))
    assert least.min() == 5e-324
    wide, _ = fill_gaps(np.array([[NAN, 1.7e308, NAN, 5e-324, NAN]]))
    assert wide[0].tolist() == [1.7e308, 1.7e308, 8.5e307, 5e-324, 5e-324]


anything = st.one_of(
    st.just(NAN),
    st.just(0.0),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(min_value=5e-324, max_value=1e-290),
    st.floats(min_value=1e290, max_value=1.7e308),
    st.floats(min_value=-100, max_value=100),
)
positive = st.floats(min_value=5e-324, max_value=1.7e308)
histories = st.one_of(
    st.lists(anything, min_size=1, max_size=60),
    st.lists(positive, min_size=1, max_size=60),
    st.lists(st.one_of(st.just(NAN), positive), min_size=1, max_size=60),
    st.builds(lambda value, count: [value] * count, anything, st.integers(1, 60)),
    st.builds(lambda values, count: values * count, st.lists(anything, min_size=12, max_size=12), st.integers(1, 4)),
).filter(lambda values: not np.isnan(values).all())
answers = st.sampled_from([0.0, 1.0, -1.0, 60.0, -60.0, 3e38, -3e38])


@settings(max_examples=400)
@given(histories, answers, st.sampled_from([(), (4,), (12,), (4, 12)]), st.booleans())
def test_whatever_comes_nothing_is_nan_or_infinite(
    values: list[float], answer: float, periods: tuple[int, ...], linear: bool
) -> None:
    windows = windows_of(values, periods=periods, linear=linear)
    for name, found in vars(windows).items():
        assert np.isfinite(found).all(), name
    assert np.abs(windows.window).max() <= 8
    found = restore(np.full((1, HORIZON_STEPS, 2), answer, np.float32), windows)
    assert np.isfinite(found).all()
    assert (found > 0).all() or not windows.is_log[0]


@settings(max_examples=100)
@given(histories, st.lists(st.floats(-50, 50, width=32), min_size=2, max_size=9))
def test_what_rises_still_rises_on_the_series_scale(values: list[float], answer: list[float]) -> None:
    forecast = np.broadcast_to(np.sort(np.array(answer, np.float32)), (1, HORIZON_STEPS, len(answer)))
    restored = restore(forecast, windows_of(values))
    assert (np.diff(restored, axis=2) >= 0).all()
