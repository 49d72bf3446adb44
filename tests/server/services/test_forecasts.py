"""ForecastService over a real server: which model answers, how calls fail, and what health says of it."""

from __future__ import annotations

import math
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muserve.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
)
from muserve.v1 import common_pb2, forecast_pb2, forecast_pb2_grpc, image_pb2, image_pb2_grpc, model_pb2, model_pb2_grpc
from muserve_server.app import Server, StartUpError
from muserve_server.model import LocalModel
from tests.bundles import MAX_HORIZON, MONTHLY, OTHER, forecast_bundle, image_bundle, next_value_bundle
from tests.server.calling import failure_of, metric, serving_as
from tests.servers import serving

FORECAST = "/muserve.v1.ForecastService/Forecast"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
VALUES = [5.0, 7, 6, 9, 8, 11, 10, 13]


class Running:
    """A server and its stubs."""

    def __init__(self, server: Server, channel: Any) -> None:
        self.server = server
        self.channel = channel
        self.forecasts = forecast_pb2_grpc.ForecastServiceStub(channel)
        self.images = image_pb2_grpc.ImageServiceStub(channel)
        self.models = model_pb2_grpc.ModelServiceStub(channel)

    async def still_answers(self) -> None:
        assert len((await self.forecasts.Forecast(request(version=1))).forecasts) == 1

    async def health(self, name: str) -> int:
        stub = health_pb2_grpc.HealthStub(self.channel)
        return int((await stub.Check(health_pb2.HealthCheckRequest(service=name))).status)


running = partial(serving_as, Running)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    """Both tasks at once, forecasts in two versions."""
    image_bundle(tmp_path)
    forecast_bundle(tmp_path)
    forecast_bundle(tmp_path, version=2)
    async with running(tmp_path) as made:
        yield made


def request(values: list[float] | None = None, *, count: int = 1, **fields: Any) -> forecast_pb2.ForecastRequest:
    made = forecast_pb2.ForecastRequest(**{"horizon": 3, "frequency": MONTHLY} | fields)
    for index in range(count):
        made.series.add(id=f"s{index}", values=VALUES if values is None else values)
    return made


async def test_it_answers_as_the_bundle_does_without_a_server(server: Running, tmp_path: Path) -> None:
    asked = request(count=3, horizon=14, quantiles=[0.1, 0.5, 0.93])
    answer = await server.forecasts.Forecast(asked, metadata=(("x-request-id", "mine"),))
    async with await LocalModel.open(tmp_path / "series/2") as model:
        assert list(answer.forecasts) == list((await model.answer(asked)).forecasts)
        assert answer.info.digest == model.bundle.digest
    assert (answer.info.model, answer.info.version, answer.info.request_id) == ("series", 2, "mine")
    assert metric(server.server, "muserve_request_seconds_count", method=FORECAST, code="OK", model="series") == 1
    assert metric(server.server, "muserve_batch_rows_sum", model="series") == 3 * 3  # three runs of three series


async def test_the_only_model_answers_and_its_newest_version(server: Running) -> None:
    for fields, version in (({}, 2), ({"model": "series"}, 2), ({"version": 1}, 1)):
        info = (await server.forecasts.Forecast(request(**fields))).info
        assert (info.model, info.version) == ("series", version)
    listed = await server.models.ListModels(model_pb2.ListModelsRequest(task=common_pb2.TASK_FORECAST))
    assert [(model.name, model.version, model.default) for model in listed.models] == [
        ("series", 1, False), ("series", 2, True),
    ]  # fmt: skip


async def test_models_of_another_task_are_not_found(server: Running) -> None:
    error = await failure_of(server.forecasts.Forecast(request(model="shapes")))
    assert isinstance(error, ModelNotFoundError)
    assert error.message == "model 'shapes' is not a model of the task forecast; available: series"
    error = await failure_of(server.images.GenerateImages(image_pb2.GenerateImagesRequest(model="series")))
    assert isinstance(error, ModelNotFoundError)
    for fields in ({"model": "nope"}, {"version": 9}, {"version": 0}):
        assert isinstance(await failure_of(server.forecasts.Forecast(request(**fields))), ModelNotFoundError)
    await server.still_answers()


async def test_of_two_models_the_settings_choose(tmp_path: Path) -> None:
    forecast_bundle(tmp_path)
    next_value_bundle(tmp_path)
    with pytest.raises(StartUpError, match="--default-models forecast=next"):
        async with serving(tmp_path):
            pass
    async with running(tmp_path, default_models=("forecast=series",)) as server:
        assert (await server.forecasts.Forecast(request())).info.model == "series"
        other = await server.forecasts.Forecast(request(VALUES, model="next", frequency=OTHER))
        assert (other.info.model, list(other.forecasts[0].point)) == ("next", [14.5, 15.25, 15.625])


async def test_health_is_that_of_the_task(tmp_path: Path) -> None:
    image_bundle(tmp_path / "images")
    forecast_bundle(tmp_path / "forecasts")
    async with running(tmp_path / "images") as server:
        assert await server.health("muserve.v1.ForecastService") == NOT_SERVING
        assert [await server.health(name) for name in ("", "muserve.v1.ImageService")] == [SERVING] * 2
        error = await failure_of(server.forecasts.Forecast(request()))
        assert isinstance(error, ModelNotFoundError)
        assert error.message == "no forecast model serves here; in the repository: nothing"
    async with running(tmp_path / "forecasts") as server:
        assert await server.health("muserve.v1.ImageService") == NOT_SERVING
        for name in ("", "muserve.v1.ForecastService", "models/series"):
            assert await server.health(name) == SERVING


async def test_each_wrong_field_comes_back_as_a_violation(server: Running) -> None:
    asked = request(count=2)
    asked.series.add(id="worst", values=[1, math.inf])
    asked.series.add(values=VALUES, times_unix_s=[3, 2])
    error = await failure_of(server.forecasts.Forecast(asked))
    assert isinstance(error, InvalidRequestError)
    assert [violation.field for violation in error.violations] == ["series[2].values[1]", "series[3].times_unix_s"]
    assert error.message.startswith("series[2].values[1]: is infinite (id 'worst'); NaN stands for a missing value; ")
    await server.still_answers()


@pytest.mark.parametrize("id_", ["x" * 100_000, "\N{GRINNING FACE}" * 10_000, "\x00" * 10_000, "a\nb"])
async def test_a_long_or_odd_id_still_gets_its_error(server: Running, id_: str) -> None:
    """Errors travel in headers, which have a limit: what the caller sent is repeated in part only."""
    asked = request([], count=40)
    for series in asked.series:
        series.id = id_
    call = server.forecasts.Forecast(asked)
    error = await failure_of(call)
    assert isinstance(error, InvalidRequestError)
    headers = {"grpc-message": quote(await call.details()), **dict(await call.trailing_metadata())}
    assert sum(len(key) + len(value) + 32 for key, value in headers.items()) < 8192
    assert error.violations[0].field == "series[0].values"
    await server.still_answers()


async def test_the_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    forecast_bundle(tmp_path)
    async with running(tmp_path, max_series_per_call=2, max_points_per_series=8) as server:
        assert len((await server.forecasts.Forecast(request(count=2))).forecasts) == 2
        for asked, text in (
            (request(count=3), "series: are 3; allowed: 1 up to 2 a call"),
            (request([1.0] * 9), "series[0].values: are 9 (id 's0'); allowed: up to 8"),
        ):
            error = await failure_of(server.forecasts.Forecast(asked))
            assert isinstance(error, InvalidRequestError)
            assert error.message == text
        await server.still_answers()


async def test_the_largest_call_is_answered_and_a_larger_answer_is_refused(tmp_path: Path) -> None:
    forecast_bundle(tmp_path)
    async with running(tmp_path, max_message_mib=1) as server:
        assert len((await server.forecasts.Forecast(request(count=1000))).forecasts) == 1000
        levels = [index / 100 for index in range(1, 100)]
        error = await failure_of(server.forecasts.Forecast(request(count=100, horizon=MAX_HORIZON, quantiles=levels)))
        assert isinstance(error, InvalidRequestError)
        assert "make 300000 values; allowed: up to 131072" in error.message
        # The values alone would fit, but not with all that stands around them.
        error = await failure_of(server.forecasts.Forecast(request(count=43, horizon=MAX_HORIZON, quantiles=levels)))
        assert isinstance(error, MessageTooLargeError)
        await server.still_answers()


async def test_a_deadline_ends_a_roll_out(server: Running) -> None:
    error = await failure_of(server.forecasts.Forecast(request(count=1000, horizon=MAX_HORIZON), timeout=0.001))
    assert isinstance(error, DeadlineExceededError)
    await server.still_answers()
