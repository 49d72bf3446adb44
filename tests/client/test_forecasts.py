"""Forecasts of lists, dicts and arrays from a real server, through both skins; and of more series than fit a call."""

from __future__ import annotations

import math
import threading
from array import array
from collections import deque
from decimal import Decimal
from fractions import Fraction
from typing import Any

import grpc
import numpy as np
import pandas as pd
import pytest

from muserve.errors import FieldViolation, InvalidRequestError, ModelNotFoundError, UnavailableError
from muserve.v1 import forecast_pb2
from muserve_client import Client, Forecasts, InternalError, Retries
from tests.client.conftest import Served
from tests.client.fakes import Skin, both_skins, call, echo, fail, fake_server
from tests.client.forecasters import DIRECT_STEPS, MAX_HORIZON, MIN_POINTS

NAN = math.nan


def forecast(served: Served, *arguments: Any, **keywords: Any) -> Forecasts:
    found = call(Client, served.target, "forecast", *arguments, **({"frequency": "monthly"} | keywords))
    assert isinstance(found, Forecasts)
    return found


@both_skins
def test_a_list_is_continued_with_quantiles(skin: Skin, forecaster: Served) -> None:
    found = call(skin, forecaster.target, "forecast", [7, 8.5, 10], 3, frequency="monthly", request_id="mine")
    assert len(found) == 1
    only = found[0]
    assert (only.id, only.frequency, only.point) == (0, "monthly", (11.0, 12.0, 13.0))
    assert only.quantiles == {0.1: (10.0, 10.0, 10.0), 0.9: (12.0, 14.0, 16.0)}
    assert (only.times, only.ds) == (None, [3, 4, 5])
    assert (only.direct_steps, only.is_rolled_out, only.experimental) == (3, False, False)
    assert (found.info.model, found.info.version, found.info.request_id) == ("drift", 1, "mine")
    assert len(found.info.digest) == 64
    assert found.info.batch_rows >= 1


@both_skins
def test_what_is_asked_for_comes_back(skin: Skin, forecaster: Served) -> None:
    def ask(**keywords: Any) -> Any:
        return call(skin, forecaster.target, "forecast", [-3, -3, -3.0], 2, **({"frequency": "weekly"} | keywords))

    assert list(ask(quantiles=[0.9, 0.25, 0.5])[0].quantiles) == [0.25, 0.5, 0.9]
    assert ask(quantiles=0.9)[0].quantiles == {0.9: (-1.0, 1.0)}
    assert ask(quantiles=())[0].quantiles == ask(quantiles=None)[0].quantiles == {}
    assert ask(non_negative=True)[0].point == (0.0, 0.0)
    assert ask()[0].experimental
    assert (ask().point, ask(point="mean").point) == ("median", "mean")
    assert ask(model="level", frequency=None)[0].point == (-3.0, -3.0)
    assert ask(model="level", frequency=None)[0].frequency == "monthly"
    with pytest.raises(ModelNotFoundError):
        ask(version=2)


def test_steps_beyond_the_models_own_are_rolled_out(forecaster: Served) -> None:
    found = forecast(forecaster, [1, 2, 3], DIRECT_STEPS + 1)[0]
    assert found.is_rolled_out
    assert found.direct_steps == DIRECT_STEPS
    assert found.point == tuple(range(4, 4 + DIRECT_STEPS + 1))


SAME: list[Any] = [
    (1, 2, 4),
    range(1, 8, 3),
    deque([1, 4, 4]),
    array("i", [1, 2, 4]),
    np.array([1, 2, 4], np.int16),
    np.array([1, 2, 4], np.float32),
    np.ma.masked_array([1, 2, 5, 4], [False, False, True, False]),
    [1, np.float64(2), np.int8(4)],
    [Decimal(1), Fraction(4, 2), 4],
    [1, None, NAN, 2, pd.NA, np.nan, 4],
    pd.Index([1, 2, 4]),
]


@pytest.mark.parametrize("series", SAME, ids=lambda series: type(series).__name__)
def test_one_series_may_come_in_many_ways(forecaster: Served, series: Any) -> None:
    last = 7 if isinstance(series, range) else 4
    found = forecast(forecaster, series, 2)[0]
    assert found.point == (last + 1, last + 2)
    assert found.ds == [len(series), len(series) + 1]


def test_missing_values_arrive_as_missing() -> None:
    requests: list[forecast_pb2.ForecastRequest] = []

    def answer(request: Any, *_: Any) -> Any:
        requests.append(request)
        return echo(request)

    with fake_server(answer) as server:
        call(Client, server.target, "forecast", [None, 1, NAN, pd.NA, 2], 1)
    assert [math.isnan(value) for value in requests[0].series[0].values] == [True, False, True, True, False]
    assert not requests[0].series[0].times_unix_s


MANY: list[Any] = [
    [[1, 2, 3], [4, 5, 6, 7]],
    ((1, 2, 3), np.array([4, 5, 6, 7])),
    {"a": [1, 2, 3], "b": (4, 5, 6, 7)},
    {7: [1, 2, 3], "b": [4, 5, 6, 7]},
    np.array([[1, 2, 3], [5, 6, 7]]),
    [pd.Series([1, 2, 3], name="x"), [4, 5, 6, 7]],
    {"a": pd.Series([1, 2, 3], name="x"), "b": [4, 5, 6, 7]},
]


@both_skins
@pytest.mark.parametrize("series", MANY, ids=lambda series: type(series).__name__)
def test_several_series_may_come_in_many_ways(skin: Skin, forecaster: Served, series: Any) -> None:
    found = call(skin, forecaster.target, "forecast", series, 2, frequency="daily")
    assert [one.point for one in found] == [(4.0, 5.0), (8.0, 9.0)]
    named = isinstance(series, list) and isinstance(series[0], pd.Series)
    assert [one.id for one in found] == (list(series) if isinstance(series, dict) else ["x", 1] if named else [0, 1])


def test_a_forecast_is_found_by_its_id(forecaster: Served) -> None:
    found = forecast(forecaster, {"north": [1, 2, 3], "south": [4, 5, 6]}, 1)
    assert found["south"] is found[1]
    assert found[:1] == (found["north"],)
    assert list(found) == [found["north"], found["south"]]
    with pytest.raises(KeyError, match="did you mean 'south'"):
        found["soth"]
    assert repr(found) == "<Forecasts: 2 series, 1 steps, by drift/1>"


@both_skins
@pytest.mark.parametrize(
    ("arguments", "field", "words"),
    [
        ({"horizon": -1}, "horizon", "-1"),
        ({"horizon": 2.0}, "horizon", "2.0 (float)"),
        ({"frequency": "mothly"}, "frequency", "did you mean 'monthly'"),
        ({"frequency": "15min"}, "frequency", "valid: D, M, Q, W, Y, daily, h, hourly, monthly, other"),
        ({"frequency": "B"}, "frequency", "is 'B': business days, which no model supports; give daily dates"),
        ({"frequency": pd.offsets.BDay()}, "frequency", "or the values without dates and frequency='other'"),
        ({"frequency": "C"}, "frequency", "business days"),
        ({"frequency": 12}, "frequency", "12 (int)"),
        ({"quantiles": "0.1"}, "quantiles", "[0.1, 0.9]"),
        ({"quantiles": [0.1, None]}, "quantiles[1]", "None"),
        ({"point": "mode"}, "point", "valid: mean, median"),
        ({"point": "meen"}, "point", "did you mean 'mean'"),
        ({"point": ["mean"]}, "point", "list"),
        ({"model": None}, "model", "None"),
        ({"version": -1}, "version", "-1"),
        ({"id_column": 3}, "id_column", "3 (int)"),
        ({"timeout_s": 0}, "timeout_s", "above 0"),
        ({"series": "1,2,3"}, "series", "allowed: a list or array of numbers"),
        ({"series": 7}, "series", "7 (int)"),
        ({"series": None}, "series", "NoneType"),
        ({"series": {1, 2}}, "series", "of the type set"),
        ({"series": {}}, "series", "at least one"),
        ({"series": np.zeros((2, 3, 4))}, "series[0]", "of the type ndarray; allowed: a list of numbers"),
        ({"series": np.float64(3)}, "series", "(float64)"),
        ({"series": [1, "2"]}, "series[1]", "'2' (str)"),
        ({"series": [1, 10**400]}, "series[1]", "larger"),
        ({"series": [1, 2j]}, "series[1]", "complex"),
        ({"series": np.array(["a"])}, "series[0]", "'a' (str)"),
        ({"series": [[1], [2, "x" * 99]]}, "series[1][1]", "x…"),
        ({"series": {"a": [1], "b": 3}}, "series[1]", "3 (int); allowed: a list of numbers"),
        ({"series": {"\ud800": [1]}}, "series", "surrogates"),
        ({"series": [pd.DataFrame({"a": [1]})]}, "series[0]", "of the type DataFrame"),
    ],
)
def test_what_cannot_be_sent_is_refused_with_its_name(
    skin: Skin, arguments: dict[str, Any], field: str, words: str
) -> None:
    given: dict[str, Any] = {"series": [1, 2, 3], "horizon": 1, "frequency": "monthly"} | arguments
    with pytest.raises(InvalidRequestError) as caught:
        call(skin, "127.0.0.1:1", "forecast", **given)  # port 1: nothing may be sent
    assert [violation.field for violation in caught.value.violations] == [field]
    assert words in caught.value.violations[0].description


def test_all_that_cannot_be_sent_is_named_at_once() -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call(Client, "127.0.0.1:1", "forecast", "x", -1, frequency="x", quantiles=3 * "x", point="x")
    named = {violation.field for violation in caught.value.violations}
    assert named == {"series", "horizon", "frequency", "quantiles", "point"}


@both_skins
def test_what_can_be_sent_is_judged_by_the_server(skin: Skin, forecaster: Served) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call(skin, forecaster.target, "forecast", [1, 2, 3], MAX_HORIZON + 1, quantiles=[2], request_id="judged")
    assert {violation.field for violation in caught.value.violations} == {"horizon", "quantiles[0]"}
    assert caught.value.request_id == "judged"
    for series, words in (([1, 2, math.inf], "infinite"), ([1, NAN, 3], f"at least {MIN_POINTS}"), ([], "have 0")):
        with pytest.raises(InvalidRequestError, match=words):
            call(skin, forecaster.target, "forecast", series, 1, frequency="daily")
    with pytest.raises(InvalidRequestError, match="it has no timestamps to infer it from"):
        call(skin, forecaster.target, "forecast", [1, 2, 3], 1)


@pytest.mark.parametrize(
    ("frequency", "name"),
    [
        ("yearly", "yearly"), ("Y", "yearly"), ("YE-DEC", "yearly"), ("YS", "yearly"), ("A", "yearly"),
        ("Q", "quarterly"), ("QE", "quarterly"), ("QS-OCT", "quarterly"), ("BQE", "quarterly"),
        ("M", "monthly"), ("ME", "monthly"), ("MS", "monthly"), ("Monthly", "monthly"), ("BME", "monthly"),
        ("W", "weekly"), ("W-SUN", "weekly"), ("D", "daily"), ("h", "hourly"), ("H", "hourly"),
        ("FREQUENCY_DAILY", "daily"), (pd.offsets.QuarterEnd(), "quarterly"),
    ],
)  # fmt: skip
def test_frequencies_have_many_names(forecaster: Served, frequency: Any, name: str) -> None:
    assert forecast(forecaster, [1, 2, 3], 1, frequency=frequency)[0].frequency == name


# More series than fit into one call


@both_skins
def test_many_series_go_in_several_calls_and_come_back_in_order(skin: Skin, forecaster: Served) -> None:
    series = {f"series {number}": [number, number, number] for number in range(1201)}
    found = call(skin, forecaster.target, "forecast", series, 1, frequency="daily")
    assert [one.id for one in found] == list(series)
    assert [one.point for one in found] == [(number + 1.0,) for number in range(1201)]
    one = call(skin, forecaster.target, "forecast", series["series 700"], 1, frequency="daily")
    assert one[0].point == found[700].point


@both_skins
def test_calls_are_small_and_ask_for_the_version_that_answered_first(skin: Skin) -> None:
    seen: list[forecast_pb2.ForecastRequest] = []
    names: list[Any] = []

    def answer(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        seen.append(request)
        names.append(dict(context.invocation_metadata())["x-request-id"])
        response = echo(request, model="m", version=3, digest="d", request_id=str(number))
        response.info.timings.batch_rows = number
        response.info.timings.compute.FromMilliseconds(100)
        return response

    series = [[number] * 3 for number in range(1001)]
    with fake_server(answer) as server:
        found = call(skin, server.target, "forecast", series, 2, request_id="all")
    assert [len(request.series) for request in seen] == [500, 500, 1]
    assert [(request.model, request.version) for request in seen] == [("", 0), ("m", 3), ("m", 3)]
    assert not seen[0].HasField("version")
    assert names == ["all"] * 3
    assert [one.point[1] for one in found] == list(range(1001))
    assert (found.info.batch_rows, found.info.request_id) == (3, "1")
    assert math.isclose(found.info.timings.compute_s, 0.3)


@both_skins
@pytest.mark.parametrize(
    ("values", "horizon", "quantiles"), [(20_000, 1, 0), (10, 5_000, 2), (10, 500, 98), (100_000, 1, 0)]
)
def test_messages_stay_below_the_limit(skin: Skin, values: int, horizon: int, quantiles: int) -> None:
    sizes: list[int] = []

    def answer(request: Any, _context: Any, _number: int) -> Any:
        response = echo(request)
        sizes.extend((request.ByteSize(), response.ByteSize()))
        return response

    levels = [(1 + level) / (1 + quantiles) for level in range(quantiles)]
    with fake_server(answer) as server:
        found = call(
            skin,
            server.target,
            "forecast",
            np.zeros((12, values)),
            horizon,
            quantiles=levels,
            client={"max_message_mib": 1},
        )
        assert 1 < server.calls <= 12
    assert len(found) == 12
    assert max(sizes) < 2**20


@both_skins
def test_a_refusal_counts_the_series_as_the_caller_does(skin: Skin) -> None:
    def answer(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number == 2:
            wrong = [
                FieldViolation("series[3].values[1]", "is infinite (id 'series[3]')"),
                FieldViolation("horizon", "x"),
            ]
            fail(context, InvalidRequestError(violations=wrong, request_id="id"))
        return echo(request)

    with fake_server(answer) as server, pytest.raises(InvalidRequestError) as caught:
        call(skin, server.target, "forecast", [[1, 2]] * 800, 1)
    assert [violation.field for violation in caught.value.violations] == ["series[503].values[1]", "horizon"]
    assert str(caught.value) == "series[503].values[1]: is infinite (id 'series[3]'); horizon: x"
    assert caught.value.request_id == "id"


@both_skins
def test_each_call_is_tried_again_by_itself(skin: Skin) -> None:
    def answer(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number in (1, 3):
            fail(context, UnavailableError("loading"))
        return echo(request)

    with fake_server(answer) as server:
        retries = {"retries": Retries(attempts=2, initial_backoff_s=0.01)}
        assert len(call(skin, server.target, "forecast", [[1, 2]] * 501, 1, client=retries)) == 501
    assert server.calls == 4


@both_skins
def test_replicas_with_different_bundles_are_found(skin: Skin) -> None:
    with (
        fake_server(
            lambda request, _context, number: echo(request, model="m", version=1, digest=f"d{number}")
        ) as server,
        pytest.raises(InternalError, match=r"m/1 is another bundle on another replica \(d1, d2\)"),
    ):
        call(skin, server.target, "forecast", [[1, 2]] * 501, 1)


@both_skins
def test_too_few_forecasts_are_an_internal_error(skin: Skin) -> None:
    empty = forecast_pb2.ForecastResponse()
    with fake_server(lambda *_: empty) as server, pytest.raises(InternalError, match="1 series were answered with 0"):
        call(skin, server.target, "forecast", [1, 2], 1)


def test_threads_share_a_client(forecaster: Served) -> None:
    results: dict[int, Any] = {}
    with Client(forecaster.target) as client:

        def ask(number: int) -> None:
            results[number] = client.forecast([number] * 4, 2, frequency="daily")[0].point

        threads = [threading.Thread(target=ask, args=(number,)) for number in range(16)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert results == {number: (number + 1.0, number + 2.0) for number in range(16)}


# More values than a server takes


@both_skins
def test_the_newest_values_of_long_series_are_sent(skin: Skin) -> None:
    seen: list[forecast_pb2.TimeSeries] = []

    def answer(request: Any, *_: Any) -> Any:
        seen.extend(request.series)
        return echo(request)

    hours = pd.Series(np.arange(10_001.0), index=pd.date_range("2020-01-01", periods=10_001, freq="h"), name="h")
    with fake_server(answer) as server:
        dated = call(skin, server.target, "forecast", hours, 1)
        call(skin, server.target, "forecast", {"a": np.arange(10_000.0), "b": range(25_000)}, 1, frequency="daily")
    assert [(one.id, len(one.values), one.values[0]) for one in seen] == [
        ("h", 10_000, 1),
        ("a", 10_000, 0),
        ("b", 10_000, 15_000),
    ]
    assert [len(one.times_unix_s) for one in seen] == [10_000, 0, 0]
    assert seen[0].times_unix_s[0] == pd.Timestamp("2020-01-01 01:00").timestamp()
    assert [one.frequency for one in seen] == [forecast_pb2.FREQUENCY_HOURLY, *2 * [forecast_pb2.FREQUENCY_DAILY]]
    assert len(dated[0].history.message.values) == len(dated[0].history.positions) == 10_001


@both_skins
def test_long_series_are_continued_from_their_end(skin: Skin, forecaster: Served) -> None:
    found = call(skin, forecaster.target, "forecast", np.arange(25_000), 2, frequency="daily")
    assert found[0].point == (25_000.0, 25_001.0)
    assert found[0].ds == [25_000, 25_001]


@both_skins
def test_a_refusal_counts_the_values_as_the_caller_does(skin: Skin, forecaster: Served) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call(skin, forecaster.target, "forecast", [[1, 2, math.inf], [*range(10_005), math.inf]], 1, frequency="daily")
    fields = [violation.field for violation in caught.value.violations]
    assert fields == ["series[0].values[2]", "series[1].values[10005]"]
    assert "series[1].values[10005]: is infinite" in str(caught.value)
