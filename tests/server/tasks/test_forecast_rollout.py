"""The forecast task where values are missing and where its own medians stand for them: gaps and roll-out."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from muserve.v1 import forecast_pb2
from muserve_server.model import LocalModel, LocalOptions
from tests.bundles import (
    DAILY,
    FREQUENCIES,
    LEVELS,
    MAX_HORIZON,
    MONTHLY,
    QUARTERLY,
    WINDOW_STEPS,
    YEARLY,
    add_golden,
    forecast_bundle,
)
from tests.server.forecasting import DAY_S, MEAN, MEDIAN, NAN, forecast, request, table, walk


@pytest.mark.parametrize("positive", [True, False])
@pytest.mark.parametrize(("frequency", "direct"), [(YEARLY, 3), (QUARTERLY, 4), (MONTHLY, 6)])
async def test_a_roll_out_is_said_and_its_bands_do_not_narrow(
    model: LocalModel, frequency: int, direct: int, positive: bool
) -> None:
    for seed in range(5):
        values = walk(60, seed, positive=positive)
        found = await forecast(model, values, horizon=MAX_HORIZON, frequency=frequency, quantiles=LEVELS)
        assert found.direct_steps == direct
        bands = np.log(table(found)) if positive else table(found)  # on the scale on which errors are alike
        ends = bands[direct - 1 :: direct]
        assert (np.diff(ends[:, -1] - ends[:, 0]) > 0).all()
        starts = bands[direct::direct]  # the first step of a run is no less uncertain than the last of the run before
        assert (starts[:, -1] - starts[:, 0] >= (ends[:, -1] - ends[:, 0])[: len(starts)] * (1 - 1e-9)).all()
        assert (np.diff(bands, axis=1) > 0).all()
        within = await forecast(model, values, horizon=direct, frequency=frequency, quantiles=LEVELS)
        assert within.direct_steps == direct
        assert table(within).tolist() == table(found)[:direct].tolist()  # nothing changes what was direct
        shorter = await forecast(model, values, horizon=direct - 1, frequency=frequency)
        assert shorter.direct_steps == direct - 1


@pytest.mark.parametrize(("frequency", "direct"), [(YEARLY, 3), (MONTHLY, 6)])
async def test_a_roll_out_continues_the_medians(model: LocalModel, frequency: int, direct: int) -> None:
    """After as many steps as the frequency was trained for, not as the graph gives."""
    values = walk(60)
    found = await forecast(model, values, horizon=2 * direct, frequency=frequency)
    again = await forecast(model, [*values, *found.point[:direct]], horizon=direct, frequency=frequency)
    assert list(again.point) == pytest.approx(list(found.point[direct:]), rel=1e-9)


@pytest.mark.parametrize("positive", [True, False])
async def test_a_roll_out_moves_no_median(model: LocalModel, positive: bool) -> None:
    """The doubts of the run before are around it: the median of the next is as the graph gave it, bit by bit."""
    values = walk(60, 3, positive=positive)
    found = await forecast(model, values, horizon=12, quantiles=LEVELS)
    again = await forecast(model, [*values, *found.point[:6]], horizon=6)
    assert list(again.point) == list(found.point)[6:]


async def test_bands_stay_sane_when_the_last_value_of_zero_leaves_the_past(model: LocalModel) -> None:
    """A zero keeps the logarithm away. Once it is out of sight, errors must not be taken for those of logarithms."""
    values = [0.0, *walk(47)]
    assert len(values) == FREQUENCIES[MONTHLY][1]
    found = await forecast(model, values, horizon=MAX_HORIZON, quantiles=LEVELS)
    others = await forecast(model, [1.0, *values[1:]], horizon=MAX_HORIZON, quantiles=LEVELS)
    assert np.abs(table(found)).max() < 20 * table(others).max()
    widths = (table(found)[:, -1] - table(found)[:, 0])[5::6]
    assert (np.diff(widths) > 0).all()
    assert widths[1] < 3 * widths[0]


async def test_steps_that_are_left_out_count_as_missing(model: LocalModel) -> None:
    values = walk(30)
    days = [index * DAY_S for index in range(30)]
    gaps = [NAN if index in (3, 4, 17) else value for index, value in enumerate(values)]
    asked = forecast_pb2.ForecastRequest(horizon=8, quantiles=[0.1], frequency=DAILY)
    asked.series.add(values=gaps)
    kept = [index for index, value in enumerate(gaps) if not math.isnan(value)]
    asked.series.add(values=[values[index] for index in kept], times_unix_s=[days[index] for index in kept])
    asked.series.add(values=gaps, times_unix_s=days)
    marked, left_out, both = (await model.answer(asked)).forecasts
    assert list(marked.point) == list(left_out.point) == list(both.point)
    assert table(marked).tolist() == table(left_out).tolist() == table(both).tolist()
    assert list(left_out.times_unix_s) == list(both.times_unix_s) == [(30 + step) * DAY_S for step in range(8)]


@pytest.mark.parametrize("where", [slice(0, 9), slice(10, 25), slice(24, 30), slice(1, 30, 2), slice(0, 27)])
@pytest.mark.parametrize("positive", [True, False])
async def test_values_may_be_missing_anywhere(model: LocalModel, where: slice, positive: bool) -> None:
    values = np.array(walk(30, positive=positive))
    values[where] = NAN
    found = await forecast(model, values.tolist(), horizon=MAX_HORIZON, quantiles=LEVELS)
    assert np.isfinite(table(found)).all()
    assert (np.diff(table(found), axis=1) > 0).all()
    assert np.abs(found.point).max() < 100 * np.nanmax(np.abs(values)) + 100


@pytest.mark.parametrize("gap", [1, 5, 6, 7, 12])
@pytest.mark.parametrize("positive", [True, False])
async def test_missing_values_at_the_end_are_forecast_and_passed_over(
    model: LocalModel, gap: int, positive: bool
) -> None:
    """The longer ago the last known value, the less is certain: the steps between are forecast too, and left out."""
    values = walk(36, positive=positive)
    fields: dict[str, Any] = {"quantiles": LEVELS, "point": MEAN}
    whole = await forecast(model, values, horizon=10 + gap, **fields)
    found = await forecast(model, [*values, *[NAN] * gap], horizon=10, **fields)
    assert list(found.point) == list(whole.point)[gap:]
    assert table(found).tolist() == table(whole)[gap:].tolist()
    assert found.direct_steps == max(0, 6 - gap)
    assert whole.direct_steps == 6


async def test_gaps_at_the_ends_of_some_series_change_nothing_for_the_others(model: LocalModel) -> None:
    series = [[*walk(30, gap), *[NAN] * gap] for gap in (0, 7, 3, 17)]
    together = (await model.answer(request(*series, horizon=8, quantiles=LEVELS))).forecasts
    for index, values in enumerate(series):
        alone = await forecast(model, values, horizon=8, quantiles=LEVELS)
        alone.id = f"s{index}"
        assert alone == together[index]


async def test_times_go_on_after_the_last_one_even_where_its_value_is_missing(model: LocalModel) -> None:
    days = [index * DAY_S for index in range(20)]
    asked = forecast_pb2.ForecastRequest(horizon=3)
    asked.series.add(values=[*walk(17), NAN, NAN, NAN], times_unix_s=days)
    asked.series.add(values=walk(17), times_unix_s=days[:17])
    asked.series.add(values=[*walk(17), NAN], times_unix_s=[*days[:17], days[19]])
    late, early, sparse = (await model.answer(asked)).forecasts
    assert list(late.times_unix_s) == list(sparse.times_unix_s) == [20 * DAY_S, 21 * DAY_S, 22 * DAY_S]
    assert list(early.times_unix_s) == [17 * DAY_S, 18 * DAY_S, 19 * DAY_S]
    assert (late.direct_steps, early.direct_steps, sparse.direct_steps) == (3, 3, 3)
    assert list(late.point) == list(sparse.point)
    asked.horizon = 6
    late, early, _ = (await model.answer(asked)).forecasts
    assert list(late.point)[:3] == list(early.point)[3:]


async def test_a_gap_among_the_smallest_numbers_is_filled_above_zero(model: LocalModel) -> None:
    """A straight line between these rounds below 0, of which there is no logarithm."""
    values = [1e-323, 5e-324, 5e-323, *[NAN] * 5, 5e-324]
    for point in (MEDIAN, MEAN):
        found = await forecast(model, values, horizon=20, frequency=YEARLY, quantiles=[0.1, 0.5, 0.9], point=point)
        assert np.isfinite([*found.point, *table(found).ravel()]).all()
        assert min([*found.point, *table(found).ravel()]) > 0


async def test_without_scaling_a_window_may_be_one_gap(next_value: LocalModel) -> None:
    """Its context is twice as long as its window. The steps of the gap go on by half of the last change, to 9."""
    values = [1.0, 5.0, *[NAN] * WINDOW_STEPS]
    found = await forecast(next_value, values, horizon=3, frequency=0)
    assert list(found.point) == pytest.approx([9.0] * 3, rel=1e-6)
    assert found.direct_steps == 0
    inside = await forecast(next_value, [5.0, *[NAN] * WINDOW_STEPS, 5.0], horizon=3, frequency=0)
    assert list(inside.point) == [5.0] * 3


async def test_goldens_with_a_roll_out_are_replayed(tmp_path: Path) -> None:
    folder = forecast_bundle(tmp_path)
    await add_golden(folder, request(walk(40), walk(30, 1), horizon=14, quantiles=[0.1]))
    runs: list[int] = []
    options = LocalOptions(on_run=lambda _bundle, _graph, rows, _seconds: runs.append(rows))
    async with await LocalModel.open(folder, options):
        assert runs == [2, 2, 2]
