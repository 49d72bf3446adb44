"""What the forecast task refuses: requests, with the field named; and manifests that contradict themselves."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import onnx
import pytest

from muserve.bundle import ManifestError
from muserve.errors import InvalidRequestError
from muserve.v1 import forecast_pb2, manifest_pb2
from muserve_server.model import LocalModel, LocalOptions
from tests.bundles import (
    DAILY,
    FREQUENCIES,
    HOURLY,
    MAX_HORIZON,
    MONTHLY,
    OTHER,
    WEEKLY,
    WINDOW_STEPS,
    edit_manifest,
    forecast_bundle,
    next_value_bundle,
)
from tests.options import local_options, short_answers

NAN, INF = math.nan, math.inf
DAY_S = 86400
VALUES = [1.0, 2, 3, 4, 5]
LIMITS = local_options(max_series_per_call=4, max_points_per_series=20)
KNOWN = "FREQUENCY_YEARLY, FREQUENCY_QUARTERLY, FREQUENCY_MONTHLY, FREQUENCY_WEEKLY, FREQUENCY_DAILY, FREQUENCY_OTHER"

Request = forecast_pb2.ForecastRequest


@pytest.fixture
async def model(tmp_path: Path) -> AsyncIterator[LocalModel]:
    async with await LocalModel.open(forecast_bundle(tmp_path), LIMITS) as opened:
        yield opened


def request(*series: dict[str, Any], **fields: Any) -> Request:
    made = Request(**{"horizon": 2, "frequency": MONTHLY} | fields)
    for entry in series or ({},):
        made.series.add(**{"values": VALUES} | entry)
    return made


def days(count: int) -> list[int]:
    return [index * DAY_S for index in range(count)]


GOOD = request()


async def refused(model: LocalModel, asked: Request) -> InvalidRequestError:
    """Returns the refusal of a request, after which the model goes on."""
    with pytest.raises(InvalidRequestError) as caught:
        await model.answer(asked)
    good = Request()
    good.CopyFrom(GOOD)
    if len(model.bundle.manifest.forecast.frequencies) == 1:
        good.ClearField("frequency")
    assert len((await model.answer(good)).forecasts[0].point) == 2
    return caught.value


@pytest.mark.parametrize(
    ("asked", "field", "text"),
    [
        (Request(horizon=2), "series", "are 0; allowed: 1 up to 4 a call"),
        (request(*[{}] * 5), "series", "are 5; allowed: 1 up to 4 a call"),
        (request(horizon=0), "horizon", f"is 0; allowed by series/1: 1 up to {MAX_HORIZON}"),
        (request(horizon=MAX_HORIZON + 1), "horizon", f"is {MAX_HORIZON + 1}; allowed by series/1: 1 up to"),
        (request(horizon=2**32 - 1), "horizon", "is 4294967295"),
        (request(point=9), "point", "is 9; allowed: POINT_FORECAST_UNSPECIFIED, POINT_FORECAST_MEDIAN"),
        (request(frequency=99), "frequency", f"is 99; series/1 was trained for {KNOWN}"),
        (request(frequency=HOURLY), "frequency", f"is FREQUENCY_HOURLY; series/1 was trained for {KNOWN}"),
        (request({"frequency": HOURLY}), "series[0].frequency", "is FREQUENCY_HOURLY; series/1 was trained for"),
        (request({}, {"frequency": 99}), "series[1].frequency", "is 99; series/1 was trained for"),
        (
            request(frequency=0),
            "series[0].frequency",
            "is not set, and it has no timestamps to infer it from; set one of",
        ),
        (
            request({"times_unix_s": [0, 5000, 10_000, 15_000, 20_000]}, frequency=0),
            "series[0].frequency",
            f"is not set, and its timestamps fit none; set one of {KNOWN}",
        ),
        (
            request({"times_unix_s": [0, 3600, 7200, 10_800, 14_400]}, frequency=0),
            "series[0].frequency",
            "its timestamps fit none",
        ),
        (request(quantiles=[0.0]), "quantiles[0]", "is 0.0; allowed: above 0 and below 1"),
        (request(quantiles=[0.5, 1.0]), "quantiles[1]", "is 1.0; allowed"),
        (request(quantiles=[1 + 1e-12]), "quantiles[0]", "is 1.000000000001; allowed"),
        (request(quantiles=[NAN]), "quantiles[0]", "is nan; allowed"),
        (request(quantiles=[-INF]), "quantiles[0]", "is -inf; allowed"),
        (request(quantiles=[0.1, 0.9, 0.1]), "quantiles", "name a level twice"),
        (request(quantiles=[index / 101 for index in range(1, 101)]), "quantiles", "are 100; allowed: up to 99"),
        (request({"values": []}), "series[0].values", "have 0 that are not missing; at least 3 of the newest 48 steps"),
        (request({"values": [1.0]}), "series[0].values", "have 1 that are not missing"),
        (request({"values": [1.0, NAN, 2]}), "series[0].values", "have 2 that are not missing"),
        (request({"values": [NAN] * 20}), "series[0].values", "have 0 that are not missing"),
        (
            request({"values": [1.0] * 5 + [NAN] * 12}, frequency=1),
            "series[0].values",
            "have 0 that are not missing; at least 3 of the newest 12 steps must be present",
        ),
        (
            request({"values": [1.0] * 8 + [NAN] * 10}, frequency=1),  # counted from the last step, known or not
            "series[0].values",
            "have 2 that are not missing; at least 3 of the newest 12 steps must be present",
        ),
        (request({"values": [1.0] * 21}), "series[0].values", "are 21; allowed: up to 20"),
        (request({"values": [1.0, INF, 3, -INF]}), "series[0].values[1]", "is infinite; NaN stands for a missing"),
        (request({"values": [1.0, 2, -INF]}), "series[0].values[2]", "is infinite"),
        (
            request({"times_unix_s": days(4)}),
            "series[0].times_unix_s",
            "are 4 for 5 values; give one each, or none",
        ),
        (request({"values": [], "times_unix_s": days(1)}), "series[0].times_unix_s", "are 1 for 0 values"),
        (
            request({"times_unix_s": [0, DAY_S, 3 * DAY_S, 2 * DAY_S, 4 * DAY_S]}, frequency=DAILY),
            "series[0].times_unix_s",
            "does not rise at index 3 (1970-01-03T00:00:00Z after 1970-01-04T00:00:00Z)",
        ),
        (request({"times_unix_s": [0, 0, 1, 2, 3]}, frequency=0), "series[0].times_unix_s", "does not rise at index 1"),
        (
            request({"times_unix_s": days(5)}),
            "series[0].times_unix_s",
            "are FREQUENCY_DAILY, but FREQUENCY_MONTHLY was requested; leave the frequency out",
        ),
        (
            request(
                {"times_unix_s": [year * 365 * DAY_S for year in range(5)], "id": "a"}
            ),  # 11 of 12 would be missing
            "series[0].times_unix_s",
            "are FREQUENCY_YEARLY, but FREQUENCY_MONTHLY was requested (id 'a')",
        ),
        (
            request({"times_unix_s": days(5), "frequency": WEEKLY}, frequency=DAILY),
            "series[0].times_unix_s",
            "are FREQUENCY_DAILY, but FREQUENCY_WEEKLY was requested",
        ),
        (
            request({"times_unix_s": [hour * 3600 for hour in range(5)]}, frequency=DAILY),
            "series[0].times_unix_s",
            "are FREQUENCY_HOURLY, but FREQUENCY_DAILY was requested",
        ),
        (
            request({"times_unix_s": [day * 10 * DAY_S for day in range(5)]}),
            "series[0].times_unix_s",
            "two values in one step at index 0 and 1",
        ),
        (
            request({"times_unix_s": [*days(4), 4 * DAY_S + 40_000]}, frequency=DAILY),
            "series[0].times_unix_s",
            "at index 4, which is between two steps",
        ),
        (
            request({"times_unix_s": [*days(4), 1_700_000_000_000]}, frequency=DAILY),  # milliseconds
            "series[0].times_unix_s",
            "outside the years 1 to 9999; they are seconds since 1970",
        ),
        (
            request({"times_unix_s": [*days(4), 20 * DAY_S]}, frequency=DAILY),
            "series[0].times_unix_s",
            "span 21 steps, most of them missing; allowed: up to 20",
        ),
        (
            request({"times_unix_s": [time_s + 253402214400 - 4 * DAY_S for time_s in days(5)]}, frequency=DAILY),
            "series[0].times_unix_s",
            "ends with 9999-12-31T00:00:00Z; 2 steps on, it leaves the years 1 to 9999",
        ),
    ],
)
async def test_a_wrong_field_is_named(model: LocalModel, asked: Request, field: str, text: str) -> None:
    error = await refused(model, asked)
    assert [violation.field for violation in error.violations] == [field]
    assert text in error.violations[0].description


async def test_a_model_of_one_frequency_looks_at_the_times_too(tmp_path: Path) -> None:
    def only(frequency: int) -> Change:
        def edit(manifest: manifest_pb2.ModelManifest) -> None:
            for entry in manifest.forecast.frequencies:
                entry.horizon_steps = 2 if entry.frequency == frequency else 0

        return edit

    asked = request({"times_unix_s": days(5)}, frequency=0)
    async with await LocalModel.open(edit_manifest(forecast_bundle(tmp_path), only(MONTHLY))) as monthly_only:
        text = "are FREQUENCY_DAILY, but series/1 was trained for FREQUENCY_MONTHLY only"
        with pytest.raises(InvalidRequestError, match=text) as caught:
            await monthly_only.answer(asked)
        assert [violation.field for violation in caught.value.violations] == ["series[0].times_unix_s"]
        assert (await monthly_only.answer(request(frequency=0))).forecasts[0].frequency == MONTHLY
    async with await LocalModel.open(edit_manifest(forecast_bundle(tmp_path, version=2), only(OTHER))) as any_step:
        assert (await any_step.answer(asked)).forecasts[0].frequency == OTHER  # whatever the step


async def test_at_the_limits_it_still_answers(model: LocalModel) -> None:
    levels = [index / 100 for index in range(1, 100)]
    answer = await model.answer(request(*[{"values": [1.0] * 20}] * 4, horizon=MAX_HORIZON, quantiles=levels))
    assert len(answer.forecasts) == 4
    spanned = request({"times_unix_s": [*days(4), 19 * DAY_S]}, frequency=DAILY)
    assert list((await model.answer(spanned)).forecasts[0].times_unix_s) == [20 * DAY_S, 21 * DAY_S]
    assert (await model.answer(request({"values": [NAN, 1, 2, 3, NAN]}))).forecasts[0].point


async def test_an_answer_too_large_is_refused_before_it_is_computed(tmp_path: Path) -> None:
    """Two series of 5 steps, three levels and the median make 40 values, and times of one of them 5 more."""
    runs: list[int] = []
    limits = LocalOptions(limits=short_answers(45), on_run=lambda _bundle, _graph, rows, _seconds: runs.append(rows))
    timed = {"times_unix_s": days(5)}
    fields: dict[str, Any] = {"horizon": 5, "quantiles": [0.1, 0.5, 0.9], "frequency": DAILY}
    async with await LocalModel.open(forecast_bundle(tmp_path), limits) as model:
        assert len((await model.answer(request({}, timed, **fields))).forecasts) == 2
        assert runs == [2]
        for asked in (
            request(timed, timed, **fields),
            request({}, {}, **fields | {"horizon": 6}),
            request({}, {}, **fields | {"quantiles": [0.1, 0.3, 0.5, 0.9]}),
            request({}, {}, {}, **fields),
        ):
            with pytest.raises(InvalidRequestError, match=r"allowed: up to 45; ask for less in one call") as caught:
                await model.answer(asked)
            assert [violation.field for violation in caught.value.violations] == ["series"]
            assert f"a horizon of {asked.horizon} and {len(asked.quantiles)} quantiles make" in str(caught.value)
        assert runs == [2]


async def test_what_a_model_does_not_have_is_refused(next_value: LocalModel) -> None:
    for asked, field, text in (
        (request(frequency=OTHER, quantiles=[0.5]), "quantiles", "model next/1 has no quantiles; leave them out"),
        (request(), "frequency", "is FREQUENCY_MONTHLY; next/1 was trained for FREQUENCY_OTHER"),
        (request({"values": [1, 2, 1e39]}, frequency=0), "series[0].values[2]", "is 1e+39; next/1 takes up to 3.4e+38"),
        (request({"values": [1, -INF]}, frequency=0), "series[0].values[1]", "is infinite"),
    ):
        error = await refused(next_value, asked)
        assert [violation.field for violation in error.violations] == [field]
        assert text in error.violations[0].description


async def test_all_wrong_series_are_listed_up_to_20(tmp_path: Path) -> None:
    async with await LocalModel.open(forecast_bundle(tmp_path)) as model:
        error = await refused(model, request(*[{}, {"values": [INF]}] * 50))
        assert [violation.field for violation in error.violations] == [
            f"series[{index}].values[0]" for index in range(1, 41, 2)
        ]
        assert error.message.endswith("and 30 more")
        error = await refused(model, request({}, {"values": [INF]}, {"frequency": 77}, {"times_unix_s": [1]}))
        assert [violation.field for violation in error.violations] == [
            "series[1].values[0]", "series[2].frequency", "series[3].times_unix_s",
        ]  # fmt: skip
        error = await refused(model, request({"values": [INF], "times_unix_s": [1, 2], "frequency": 77}))
        assert [violation.field for violation in error.violations] == [
            "series[0].values[0]", "series[0].times_unix_s", "series[0].frequency",
        ]  # fmt: skip
        error = await refused(model, request(horizon=0, point=9, quantiles=[2], frequency=99))
        assert [violation.field for violation in error.violations] == [
            "horizon", "point", "quantiles[0]", "frequency",
        ]  # fmt: skip


@pytest.mark.parametrize("id_", ["x" * 100_000, "\N{GRINNING FACE}" * 1000, "\x00" * 1000, "a\nb", "'"])
async def test_an_id_stands_in_the_error_but_not_all_of_it(model: LocalModel, id_: str) -> None:
    error = await refused(model, request({"id": id_, "values": []}))
    assert f"(id {id_[:40]!r})"[:60] in error.violations[0].description
    assert len(error.violations[0].description.encode()) <= 256
    answer = await model.answer(request({"id": id_}))
    assert answer.forecasts[0].id == id_


async def test_a_graph_that_gives_no_numbers_is_an_error(tmp_path: Path) -> None:
    folder = forecast_bundle(tmp_path)
    path = folder / "graphs/forecaster.onnx"
    graph = onnx.load(path)
    for node in graph.graph.node:
        if node.op_type == "Tanh":
            node.op_type = "Log"  # of negative numbers too
    onnx.save(graph, path)
    async with await LocalModel.open(edit_manifest(folder, lambda manifest: None)) as model:
        with pytest.raises(ValueError, match="graph 'forecaster' of series/1 returned NaN or infinity"):
            await model.answer(request())


Change = Callable[[manifest_pb2.ModelManifest], object]


def levels(*wanted: float) -> Change:
    """As many levels as the graph has, so that only they are wrong."""

    def edit(manifest: manifest_pb2.ModelManifest) -> None:
        manifest.forecast.quantiles[:] = wanted
        manifest.graphs[0].outputs[0].shape[2] = max(1, len(wanted))

    return edit


def monthly(**fields: Any) -> Change:
    """Changes what the model knows of months."""

    def edit(manifest: manifest_pb2.ModelManifest) -> None:
        entry = next(entry for entry in manifest.forecast.frequencies if entry.frequency == MONTHLY)
        if "periods" in fields:
            entry.periods[:] = fields["periods"]
        for name in fields.keys() - {"periods"}:
            setattr(entry, name, fields[name])

    return edit


def untrained(manifest: manifest_pb2.ModelManifest) -> None:
    for entry in manifest.forecast.frequencies:
        entry.horizon_steps = 0


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda m: setattr(m.forecast, "graph", "other"), "forecast.graph is 'other', which is not a graph"),
        (lambda m: m.ClearField("forecast"), "forecast.graph is ''"),
        (lambda m: m.forecast.ClearField("scaling"), "forecast.scaling is 0, which this build does not know"),
        (lambda m: setattr(m.forecast, "scaling", 9), "forecast.scaling is 9"),
        (lambda m: setattr(m.forecast, "scaling", manifest_pb2.FORECAST_SCALING_NONE), "need the inputs"),
        (lambda m: setattr(m.forecast, "window_steps", WINDOW_STEPS + 1), "need the inputs"),
        (lambda m: m.forecast.frequencies.pop(), "need the inputs"),
        (lambda m: m.forecast.frequencies.add(frequency=MONTHLY), "need the inputs"),
        (lambda m: setattr(m.graphs[0].inputs[1], "name", "fact"), "need the inputs"),
        (lambda m: setattr(m.graphs[0].inputs[0], "dtype", manifest_pb2.DATA_TYPE_INT64), "need the inputs"),
        (lambda m: setattr(m.forecast, "horizon_steps", 7), "need the outputs"),
        (lambda m: m.forecast.quantiles.pop(), "need the outputs"),
        (lambda m: setattr(m.graphs[0].outputs[0], "name", "forecasts"), "need the outputs"),
        (levels(), "forecast.quantiles are missing"),
        (levels(0.5), "must rise within 0 … 1 and include 0.5"),
        (levels(0.1, 0.9), "must rise within 0 … 1 and include 0.5"),
        (levels(0.5, 0.1), "must rise within 0 … 1 and include 0.5"),
        (levels(0.1, 0.5, 0.5), "must rise within 0 … 1 and include 0.5"),
        (levels(0.0, 0.5), "must rise within 0 … 1 and include 0.5"),
        (levels(0.5, 1.0), "must rise within 0 … 1 and include 0.5"),
        (levels(0.1, NAN, 0.5, 0.9), "must rise within 0 … 1 and include 0.5"),
        (lambda m: setattr(m.forecast, "min_points", 0), "min_points must be 1 up to window_steps"),
        (lambda m: setattr(m.forecast, "min_points", WINDOW_STEPS + 1), "min_points must be 1 up to window_steps"),
        (lambda m: setattr(m.forecast, "max_horizon", 0), "max_horizon at least 1"),
        (untrained, "forecast.frequencies has none that the graph was trained for"),
        (monthly(frequency=0), "frequency 0 is unknown to this build"),
        (monthly(frequency=99), "frequency 99 is unknown to this build"),
        (monthly(frequency=DAILY), "FREQUENCY_DAILY is listed twice"),
        (monthly(context_steps=2), "FREQUENCY_MONTHLY: context_steps is 2; allowed: 3 up to 10000"),
        (monthly(context_steps=12_000), "FREQUENCY_MONTHLY: context_steps is 12000"),
        (monthly(context_steps=49), "context_steps must be a multiple of each period"),
        (monthly(periods=[12, 7]), "context_steps must be a multiple of each period"),
        (monthly(periods=[0]), "context_steps must be a multiple of each period"),
        (monthly(horizon_steps=7), "horizon_steps must be at most 6"),
        (monthly(spread=-0.1), "FREQUENCY_MONTHLY: spread is -0.1"),
        (monthly(spread=NAN), "FREQUENCY_MONTHLY: spread is nan"),
        (monthly(spread=INF), "FREQUENCY_MONTHLY: spread is inf"),
    ],
)
async def test_a_manifest_that_contradicts_itself_is_refused(tmp_path: Path, edit: Change, text: str) -> None:
    folder = edit_manifest(forecast_bundle(tmp_path), edit)
    with pytest.raises(ManifestError, match=text) as caught:
        await LocalModel.open(folder)
    assert "series/1: " in str(caught.value)


async def test_without_scaling_the_context_fills_the_window(tmp_path: Path) -> None:
    def edit(manifest: manifest_pb2.ModelManifest) -> None:
        manifest.forecast.frequencies[0].context_steps = WINDOW_STEPS - 1

    folder = edit_manifest(next_value_bundle(tmp_path), edit)
    with pytest.raises(ManifestError, match=f"context_steps is {WINDOW_STEPS - 1}; allowed: {WINDOW_STEPS} up to"):
        await LocalModel.open(folder)


async def test_a_context_shorter_than_the_window_is_served_with_scaling(tmp_path: Path) -> None:
    """Years have 12 steps of a window of 24."""
    assert FREQUENCIES[forecast_pb2.FREQUENCY_YEARLY][1] < WINDOW_STEPS
    async with await LocalModel.open(forecast_bundle(tmp_path)) as model:
        assert len((await model.answer(request({}, frequency=1))).forecasts[0].point) == 2


async def test_without_a_spread_nothing_is_scaled(tmp_path: Path) -> None:
    answers = []
    for version, spread in enumerate((0.0, 1.0, 2.0), start=1):
        folder = edit_manifest(forecast_bundle(tmp_path, version=version), monthly(spread=spread))
        async with await LocalModel.open(folder) as model:
            answers.append((await model.answer(request(quantiles=[0.9]))).forecasts[0])
    assert answers[0] == answers[1] != answers[2]
