"""The forecast task on tiny real graphs, without RPC: what it answers, in which order, and how it rolls out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from muserve import __version__
from muserve.v1 import forecast_pb2, manifest_pb2
from muserve_server.model import LocalModel
from muserve_server.tasks.forecast.windows import make_windows, restore
from tests.bundles import (
    DAILY,
    FREQUENCIES,
    HORIZON_STEPS,
    LEVELS,
    MAX_HORIZON,
    MONTHLY,
    OTHER,
    QUARTERLY,
    WEEKLY,
    WINDOW_STEPS,
    YEARLY,
    edit_manifest,
    forecast_bundle,
)
from tests.server.forecasting import DAY_S, MEAN, MEDIAN, NAN, forecast, request, table, walk


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(("frequency", "spread"), [(MONTHLY, 1.0), (QUARTERLY, 0.5)])
async def test_the_quantiles_are_those_of_the_graph(
    model: LocalModel, frequency: int, spread: float, positive: bool
) -> None:
    values = walk(60, positive=positive)
    periods, context_steps, horizon_steps = FREQUENCIES[frequency]  # type: ignore[index]
    windows = make_windows(
        np.array(values)[None, -context_steps:], periods=periods, window_steps=WINDOW_STEPS,
        horizon_steps=HORIZON_STEPS, frequency=list(FREQUENCIES).index(frequency),  # type: ignore[arg-type]
        frequencies=len(FREQUENCIES),
    )  # fmt: skip
    session = ort.InferenceSession(model.bundle.folder / "graphs/forecaster.onnx")
    (raw,) = session.run(None, {"window": windows.window, "facts": windows.static_features})
    spread_out = raw[..., 2:3] + (raw.astype(np.float64) - raw[..., 2:3]) * spread
    wanted = restore(spread_out, windows)[0, :horizon_steps]
    found = await forecast(model, values, horizon=horizon_steps, frequency=frequency, quantiles=LEVELS)
    assert table(found).tolist() == wanted.tolist()
    assert list(found.point) == wanted[:, 2].tolist()
    assert [entry.level for entry in found.quantiles] == list(LEVELS)


async def test_who_answered_is_said_and_there_is_no_noise(model: LocalModel) -> None:
    answer = await model.answer(request(walk(40), walk(50, 1), quantiles=[0.5]))
    info = answer.info
    assert (info.model, info.version, info.digest, info.seed) == ("series", 1, model.bundle.digest, 0)
    assert info.server_version == __version__
    assert info.timings.batch_rows == 2
    assert info.timings.compute.ToNanoseconds() > 0
    assert info.timings.encode.ToNanoseconds() > 0
    assert [found.id for found in answer.forecasts] == ["s0", "s1"]


async def test_levels_come_back_rising_and_as_they_were_asked_for(model: LocalModel) -> None:
    wanted = (0.9, 0.123456789, 0.5, 0.999, 1e-9)
    found = await forecast(model, walk(40), quantiles=wanted)
    assert [entry.level for entry in found.quantiles] == sorted(wanted)
    assert (np.diff(table(found), axis=1) > 0).all()
    assert not (await forecast(model, walk(40))).quantiles
    most = await forecast(model, walk(40), quantiles=[index / 100 for index in range(1, 100)])
    assert len(most.quantiles) == 99


async def test_mixed_frequencies_come_back_in_order_and_as_if_alone(model: LocalModel) -> None:
    """Short, long, with gaps, below zero, with times and without, in one call."""
    calls = forecast_pb2.ForecastRequest(horizon=9, quantiles=[0.1, 0.77], frequency=YEARLY, point=MEAN)
    known = [YEARLY, QUARTERLY, MONTHLY, WEEKLY, DAILY, OTHER]
    for index in range(40):
        values = walk(5 + 7 * index % 120, index, positive=index % 3 > 0)
        if index % 4 == 1:
            values[2] = NAN
        series = calls.series.add(id=f"series {index}", values=values)
        if index % 5:
            series.frequency = known[index % 6]
        if index % 6 == 4:
            series.times_unix_s.extend(range(0, DAY_S * len(values), DAY_S))
            series.frequency = DAILY
    together = (await model.answer(calls)).forecasts
    assert [found.id for found in together] == [series.id for series in calls.series]
    assert {found.frequency for found in together} == set(known)
    for index, series in enumerate(calls.series):
        single = forecast_pb2.ForecastRequest()
        single.CopyFrom(calls)
        del single.series[:]
        single.series.append(series)
        (alone,) = (await model.answer(single)).forecasts
        assert alone.SerializeToString(deterministic=True) == together[index].SerializeToString(deterministic=True)
        assert alone.frequency == (series.frequency or YEARLY)
        assert alone.experimental == (alone.frequency == WEEKLY)


@pytest.mark.parametrize("seed", [0, 1])
@pytest.mark.parametrize("factor", [1e-6, 1e12])
async def test_what_a_series_is_multiplied_by_its_forecast_is_too(model: LocalModel, factor: float, seed: int) -> None:
    values = np.array(walk(60, seed, positive=seed == 0))
    fields: dict[str, Any] = {"horizon": MAX_HORIZON, "quantiles": (0.01, 0.2, 0.9), "point": MEAN}
    plain = await forecast(model, values.tolist(), **fields)
    scaled = await forecast(model, (values * factor).tolist(), **fields)
    np.testing.assert_allclose(table(scaled), table(plain) * factor, rtol=1e-5)
    np.testing.assert_allclose(scaled.point, np.array(plain.point) * factor, rtol=1e-5)


async def test_a_season_without_noise_and_a_constant_go_on_with_certainty(model: LocalModel) -> None:
    season = [10.0, 12, 9, 14, 20, 11, 10, 8, 7, 13, 15, 16]
    found = await forecast(model, season * 4, horizon=MAX_HORIZON, quantiles=(0.001, 0.25, 0.9), point=MEAN)
    assert list(found.point) == pytest.approx((season * 3)[:MAX_HORIZON], rel=1e-9)
    np.testing.assert_allclose(table(found), np.repeat(np.array(found.point)[:, None], 3, axis=1), rtol=1e-9)
    for value in (3.3, 5.0, 0.0, -2.5, 1e-7, 5e-324, 123456.789):
        found = await forecast(model, [value] * 20, horizon=MAX_HORIZON, quantiles=(0.001, 0.25, 0.9), point=MEAN)
        assert list(found.point) == [value] * MAX_HORIZON
        assert (table(found) == value).all()


async def test_above_zero_no_quantile_falls_below(model: LocalModel) -> None:
    wild = [1.0, 900, 2, 800, 1, 700, 3, 950, 1, 860, 2, 40, 7]
    found = await forecast(model, wild, horizon=MAX_HORIZON, quantiles=(1e-12, 0.001, 0.04, 0.5), point=MEAN)
    assert (table(found) > 0).all()
    assert min(found.point) > 0


async def test_above_zero_no_mean_falls_below(tmp_path: Path) -> None:
    """Levels close together and quantiles far apart: the slope beyond them leads far below zero."""

    def edit(manifest: manifest_pb2.ModelManifest) -> None:
        manifest.forecast.quantiles[:] = (0.498, 0.499, 0.5, 0.6, 0.7)

    async with await LocalModel.open(edit_manifest(forecast_bundle(tmp_path), edit)) as model:
        found = await forecast(model, walk(40), point=MEAN, horizon=6)
        assert min(found.point) > 0


async def test_non_negative_turns_what_is_below_zero_to_zero(model: LocalModel) -> None:
    values = [0.0, 3, 0, 5, 1, 0, 2, 0, 0, 1, 0, 0, 4]
    levels = (0.001, 0.05, 0.1, 0.2, 0.5, 0.9, 0.999)
    plain = await forecast(model, values, horizon=9, quantiles=levels, frequency=OTHER)
    found = await forecast(model, values, horizon=9, quantiles=levels, frequency=OTHER, non_negative=True)
    assert (table(plain) < 0).any()
    assert (table(plain) > 0).any()
    assert (table(found) >= 0).all()
    assert table(found).tolist() == np.maximum(table(plain), 0).tolist()  # between known levels too
    assert list(found.point) == np.maximum(plain.point, 0).tolist()
    means = [
        np.array((await forecast(model, values, frequency=OTHER, point=MEAN, non_negative=non_negative)).point)
        for non_negative in (False, True)
    ]
    assert (
        means[1][1:] > np.maximum(means[0], 0)[1:]
    ).all()  # the mean of what cannot be negative, not the mean cut off
    below = await forecast(model, [-50.0, -49, -51, -50, -52, -50], point=MEAN, non_negative=True)
    assert list(below.point) == [0.0] * 4


async def test_mean_and_median_differ_as_the_quantiles_do(model: LocalModel) -> None:
    """The distances of the graph are skewed upward."""
    median, mean = [await forecast(model, walk(60, positive=False), point=point) for point in (MEDIAN, MEAN)]
    unspecified = await forecast(model, walk(60, positive=False))
    assert list(unspecified.point) == list(median.point)
    assert (np.array(mean.point) > np.array(median.point)).all()
    half = await forecast(model, walk(60, positive=False), quantiles=[0.5])
    assert table(half)[:, 0].tolist() == list(median.point)


async def test_a_frequency_is_the_series_own_or_the_requests_or_told_by_times(model: LocalModel) -> None:
    values, days = walk(20), [index * DAY_S for index in range(20)]
    asked = forecast_pb2.ForecastRequest(horizon=2)
    asked.series.add(values=values, times_unix_s=days)
    assert (await model.answer(asked)).forecasts[0].frequency == DAILY
    asked.frequency = OTHER
    assert (await model.answer(asked)).forecasts[0].frequency == OTHER
    asked.series[0].frequency = DAILY
    assert (await model.answer(asked)).forecasts[0].frequency == DAILY
    assert list((await model.answer(asked)).forecasts[0].times_unix_s) == [20 * DAY_S, 21 * DAY_S]
    del asked.series[0].times_unix_s[:]
    assert not (await model.answer(asked)).forecasts[0].times_unix_s


async def test_only_the_newest_context_is_looked_at(model: LocalModel) -> None:
    values = walk(28)
    short = await forecast(model, values, frequency=DAILY)
    long = await forecast(model, [1e9, NAN, 3.0, *values], frequency=DAILY)
    assert list(short.point) == list(long.point)


anything = st.one_of(
    st.just(NAN),
    st.floats(allow_nan=False, allow_infinity=False),
    st.floats(min_value=5e-324, max_value=1e-290),
    st.floats(min_value=1e290, max_value=1.7e308),
    st.floats(min_value=-100, max_value=100),
)
histories = st.one_of(
    st.lists(anything, min_size=3, max_size=60),
    st.lists(st.floats(min_value=5e-324, max_value=1.7e308), min_size=3, max_size=60),
    st.lists(st.floats(min_value=-1.7e308, max_value=-1e300), min_size=3, max_size=60),
    st.builds(lambda value, count: [value] * count, anything, st.integers(3, 60)),
).filter(lambda values: np.count_nonzero(~np.isnan(values)) >= 3)


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    series=st.lists(histories, min_size=1, max_size=3),
    frequency=st.sampled_from([YEARLY, QUARTERLY, MONTHLY]),
    point=st.sampled_from([MEDIAN, MEAN]),
    non_negative=st.booleans(),
)
@example(series=[[0.0, *[NAN] * 8, 1.0, 1.0, 1.0, NAN]], frequency=YEARLY, point=MEDIAN, non_negative=False)
async def test_whatever_comes_the_answer_is_finite_and_rises(
    model: LocalModel, series: list[list[float]], frequency: int, point: int, non_negative: bool
) -> None:
    levels = (5e-324, 1e-9, 0.05, 0.3, 0.5, 0.95, 1 - 1e-9)
    newest = FREQUENCIES[frequency][1]  # type: ignore[index]
    series = [values for values in series if np.count_nonzero(~np.isnan(values[-newest:])) >= 3]
    if not series:
        return
    asked = request(
        *series, horizon=MAX_HORIZON, frequency=frequency, quantiles=levels, point=point, non_negative=non_negative
    )
    for values, found in zip(series, (await model.answer(asked)).forecasts, strict=True):
        assert np.isfinite(table(found)).all()
        assert np.isfinite(found.point).all()
        assert (np.diff(table(found), axis=1) >= 0).all()
        last = int(np.flatnonzero(~np.isnan(values))[-1])  # what is missing after it is forecast, too
        seen = values[: last + 1][-newest:]
        if np.nanmin(seen) > 0:
            assert table(found).min() > 0
            assert min(found.point) > 0
        if non_negative:
            assert table(found).min() >= 0


async def test_what_is_no_number_never_leaves(model: LocalModel, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("muserve_server.tasks.forecast.task.mean", lambda quantiles, _: quantiles[..., 0] * NAN)
    with pytest.raises(ValueError, match="series/1: a forecast is NaN or infinity"):
        await forecast(model, walk(40), point=MEAN)


async def test_a_model_without_scaling_sees_the_values_and_gives_the_next(next_value: LocalModel) -> None:
    """Each value goes on by half of the last change: 8 + 2, + 1, + 0.5 …"""
    found = await forecast(next_value, [0.0, 4, 8], horizon=4, frequency=0)
    assert list(found.point) == [10.0, 11.0, 11.5, 11.75]
    assert (found.direct_steps, found.frequency) == (1, OTHER)
    mean = await forecast(next_value, [0.0, 4, 8], horizon=4, frequency=0, point=MEAN)
    assert list(mean.point) == list(found.point)
    below = await forecast(next_value, [0.0, -4], horizon=1, frequency=OTHER, non_negative=True)
    assert list(below.point) == [0.0]
    gaps = await forecast(next_value, [0.0, NAN, 8], horizon=1, frequency=0)
    assert list(gaps.point) == [10.0]
