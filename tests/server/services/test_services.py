"""The typed API over a real server: which call ends how, and that the server goes on after each bad one."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import aio

from muserve.errors import (
    STATUS_DETAILS_KEY,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
    ModelRefusedError,
    QueueFullError,
    UnavailableError,
    UnimplementedError,
)
from muserve.v1 import common_pb2, image_pb2, image_pb2_grpc, model_pb2, model_pb2_grpc
from muserve_server.app import Server
from muserve_server.model import LocalOptions
from muserve_server.tasks import Call, Handler, installed_kinds
from tests.bundles import image_bundle
from tests.music_bundles import chord_bundle
from tests.options import kinds_with
from tests.server.calling import channel_to, failure_of, get_http, metric, scraped
from tests.server.waiting import DEADLINES_S, WAIT_S, until
from tests.servers import serving

Request = image_pb2.GenerateImagesRequest
GENERATE = "/muserve.v1.ImageService/GenerateImages"


class Running:
    """A server, a channel to it, and its stubs."""

    def __init__(self, server: Server, channel: aio.Channel) -> None:
        self.server = server
        self.channel = channel
        self.images = image_pb2_grpc.ImageServiceStub(channel)
        self.models = model_pb2_grpc.ModelServiceStub(channel)

    async def still_answers(self) -> None:
        assert len((await self.images.GenerateImages(Request(seed=1))).images) == 1


@asynccontextmanager
async def running(folder: Path, *, options: LocalOptions | None = None, **settings: Any) -> AsyncIterator[Running]:
    async with serving(folder, options=options, **settings) as server, channel_to(server.grpc_port) as channel:
        yield Running(server, channel)


class Gated:
    """The image task, held up by a gate before it runs; as slow as a test needs it."""

    def __init__(self, before: Callable[[Any], Awaitable[None]]) -> None:
        self.started = 0
        self.ended = 0
        self._before = before

    def options(self, **others: Any) -> LocalOptions:
        return LocalOptions(kinds=kinds_with(image=self._make), **others)

    def _make(self, bundle: Any, limits: Any) -> Any:
        gated, task = self, installed_kinds()["image"].open(bundle, limits)

        class Task:
            def handlers(self) -> Mapping[str, Handler]:
                return {"GenerateImages": self.generate}

            async def generate(self, request: Any, call: Call) -> Any:
                gated.started += 1
                try:
                    await gated._before(request)
                    return await task.handlers()["GenerateImages"](request, call)
                finally:
                    gated.ended += 1

        return Task()


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    image_bundle(tmp_path, labels=("cat", "dog"))
    async with running(tmp_path) as made:
        yield made


async def test_each_wrong_field_comes_back_as_a_violation(server: Running) -> None:
    error = await failure_of(server.images.GenerateImages(Request(count=0, truncation=3)))
    assert isinstance(error, InvalidRequestError)
    assert [violation.field for violation in error.violations] == ["count", "truncation"]
    assert error.message.startswith("count: is 0; allowed: 1 up to 256; truncation: is 3")
    await server.still_answers()


@pytest.mark.parametrize("label", ["x" * 1_000_000, "\N{GRINNING FACE}" * 10_000, "\x00" * 10_000, "a\nb"])
async def test_a_long_or_odd_label_still_gets_its_error(server: Running, label: str) -> None:
    """Errors travel in headers, which have a limit: what the caller sent is repeated in part only."""
    call = server.images.GenerateImages(Request(labels=[label] * 20))
    error = await failure_of(call)
    assert isinstance(error, InvalidRequestError)
    headers = {"grpc-message": quote(await call.details()), **dict(await call.trailing_metadata())}
    assert sum(len(key) + len(value) + 32 for key, value in headers.items()) < 8192
    assert error.violations[0].field == "labels[0]"
    assert error.violations[0].description.startswith("is '")
    await server.still_answers()


async def test_very_many_labels_are_refused_without_looking_at_each(server: Running) -> None:
    error = await failure_of(server.images.GenerateImages(Request(labels=["nope"] * 1_000_000)))
    assert isinstance(error, InvalidRequestError)
    assert error.violations[0].field == "labels"
    await server.still_answers()


async def test_unknown_models_and_versions_say_what_is_there(server: Running) -> None:
    for call in (server.images.GenerateImages(Request(model="nope")), server.models.GetModel(get("nope"))):
        error = await failure_of(call)
        assert isinstance(error, ModelNotFoundError)
        assert error.message == "model is 'nope'; this server has shapes"
    for call in (server.images.GenerateImages(Request(version=9)), server.models.GetModel(get("shapes", 9))):
        error = await failure_of(call)
        assert isinstance(error, ModelNotFoundError)
        assert error.message == "version is 9; model 'shapes' has the versions 1"
    assert isinstance(await failure_of(server.images.GenerateImages(Request(version=0))), ModelNotFoundError)
    long = await failure_of(server.images.GenerateImages(Request(model="x" * 100_000)))
    assert isinstance(long, ModelNotFoundError)
    await server.still_answers()


def get(name: str, version: int | None = None) -> model_pb2.GetModelRequest:
    return model_pb2.GetModelRequest(name=name, version=version)


async def test_a_model_of_another_task_is_not_found(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    chord_bundle(tmp_path, "tunes")
    async with running(tmp_path) as server:
        error = await failure_of(server.images.GenerateImages(Request(model="tunes")))
        assert isinstance(error, ModelNotFoundError)
        assert error.message == "model 'tunes' is not a model of the task image; available: shapes"
        listed = await server.models.ListModels(model_pb2.ListModelsRequest(task=common_pb2.TASK_MUSIC))
        assert [model.name for model in listed.models] == ["tunes"]
        await server.still_answers()


async def test_models_are_listed_with_their_state(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    image_bundle(tmp_path, version=2)
    (image_bundle(tmp_path, version=3) / "graphs/generator.onnx").unlink()
    (tmp_path / "shapes/4").mkdir()
    async with running(tmp_path) as server:
        models = (await server.models.ListModels(model_pb2.ListModelsRequest())).models
        ready, refused = model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_REFUSED
        assert [(m.version, m.state, m.default) for m in models] == [
            (1, ready, False), (2, ready, True), (3, refused, False), (4, refused, False),
        ]  # fmt: skip
        assert "generator.onnx is missing" in models[2].reason
        assert [bool(model.digest) for model in models] == [True, True, True, False]
        newest = await server.models.GetModel(get("shapes"))
        assert newest.model == models[1]
        assert newest.manifest.graphs[0].role == "generator"
        assert not (await server.models.GetModel(get("shapes", 4))).HasField("manifest")
        error = await failure_of(server.images.GenerateImages(Request(version=3)))
        assert isinstance(error, ModelRefusedError)
        for call in (
            server.models.GetModel(get("")),
            server.models.ListModels(model_pb2.ListModelsRequest(task=77)),  # type: ignore[arg-type]
        ):
            assert isinstance(await failure_of(call), InvalidRequestError)
        await server.still_answers()


async def test_the_request_id_comes_back(server: Running) -> None:
    call = server.images.GenerateImages(Request(), metadata=(("x-request-id", "abc-1"),))
    assert (await call).info.request_id == "abc-1"
    drawn = [(await server.images.GenerateImages(Request())).info.request_id for _ in range(2)]
    assert drawn[0] != drawn[1]
    assert all(drawn)
    error = await failure_of(server.images.GenerateImages(Request(count=0), metadata=(("x-request-id", "abc-2"),)))
    assert error.request_id == "abc-2"
    long = await server.images.GenerateImages(Request(), metadata=(("x-request-id", "y" * 1000),))
    assert long.info.request_id == "y" * 128


@pytest.mark.parametrize("data", [b"\xff" * 10, b"\x0a\x05ab", b"\x0a\x02\xff\xfe"])
async def test_bytes_that_are_no_message_are_the_callers_fault(server: Running, data: bytes) -> None:
    error = await failure_of(server.channel.unary_unary(GENERATE)(data))
    assert isinstance(error, InvalidRequestError)
    assert "not a message" in error.message
    await server.still_answers()


async def test_an_unknown_method_is_unimplemented(server: Running) -> None:
    for method in ("/muserve.v1.ImageService/Nope", "/muserve.v9.Nope/Nope"):
        assert isinstance(await failure_of(server.channel.unary_unary(method)(b"")), UnimplementedError)
    await server.still_answers()


async def test_a_request_above_the_message_limit_is_refused(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    async with running(tmp_path, max_message_mib=1) as server:
        error = await failure_of(server.images.GenerateImages(Request(model="x" * 2**20)))
        assert isinstance(error, MessageTooLargeError)
        fits = await failure_of(server.images.GenerateImages(Request(model="x" * (2**20 - 100))))
        assert isinstance(fits, ModelNotFoundError)
        await server.still_answers()


async def test_an_answer_above_the_message_limit_is_refused_and_counted(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    async with running(tmp_path, max_message_mib=1, max_samples_per_call=8000, max_queue_rows=8000) as server:
        error = await failure_of(server.images.GenerateImages(Request(count=8000)))
        assert isinstance(error, MessageTooLargeError)
        assert "max_message_mib" in error.message
        assert metric(server.server, "muserve_request_seconds_count", code="RESOURCE_EXHAUSTED", model="shapes") == 1
        await server.still_answers()


async def test_an_unexpected_exception_tells_the_log_and_not_the_caller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image_bundle(tmp_path)

    async def fail(request: Request) -> None:
        if request.seed == 13:
            raise ZeroDivisionError("a secret")

    async with running(tmp_path, options=Gated(fail).options()) as server:
        call = server.images.GenerateImages(Request(seed=13), metadata=(("x-request-id", "find-me"),))
        error = await failure_of(call)
        assert isinstance(error, InternalError)
        assert error.message == "the server failed; its log has the reason under request id find-me"
        assert error.request_id == "find-me"
        (record,) = [record for record in caplog.records if record.message == "call failed"]
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError
        facts = record.__dict__
        assert (facts["request_id"], facts["model"], facts["version"], facts["method"]) == (
            "find-me", "shapes", "1", GENERATE,
        )  # fmt: skip
        assert metric(server.server, "muserve_request_seconds_count", code="INTERNAL", model="shapes") == 1
        await server.still_answers()


async def test_a_timeout_inside_a_call_is_not_its_deadline(tmp_path: Path) -> None:
    image_bundle(tmp_path)

    async def fail(request: Request) -> None:
        if request.seed == 13:
            raise TimeoutError

    async with running(tmp_path, options=Gated(fail).options()) as server:
        assert isinstance(await failure_of(server.images.GenerateImages(Request(seed=13))), InternalError)
        await server.still_answers()


@pytest.mark.parametrize("whose", ["the caller's", "the default"])
async def test_a_deadline_ends_the_call_and_its_work(tmp_path: Path, whose: str) -> None:
    image_bundle(tmp_path)

    async def wait(request: Request) -> None:
        if request.seed == 13:
            await asyncio.Event().wait()

    gated = Gated(wait)
    async with running(
        tmp_path, options=gated.options(), default_deadline_s=0.5 if whose == "the default" else 60.0
    ) as server:
        for timeout in DEADLINES_S if whose == "the caller's" else (None,):
            error = await failure_of(server.images.GenerateImages(Request(seed=13), timeout=timeout))
            assert isinstance(error, DeadlineExceededError)
            if gated.started:
                break
        if whose == "the default":
            assert error.message == "the call was not done within its 0.5 s"
        await until(lambda: gated.ended == 1)
        await until(lambda: metric(server.server, "muserve_request_seconds_count", code="DEADLINE_EXCEEDED") >= 1)
        assert metric(server.server, "muserve_request_seconds_count", code="CANCELLED") == 0
        await server.still_answers()


async def test_a_deadline_in_the_past_is_no_accident(server: Running) -> None:
    assert isinstance(await failure_of(server.images.GenerateImages(Request(), timeout=-1)), DeadlineExceededError)
    await server.still_answers()


async def test_a_cancelled_call_ends_and_is_counted_as_such(tmp_path: Path) -> None:
    image_bundle(tmp_path)

    async def wait(request: Request) -> None:
        if request.seed == 13:
            await asyncio.Event().wait()

    gated = Gated(wait)
    async with running(tmp_path, options=gated.options()) as server:
        call = server.images.GenerateImages(Request(seed=13))
        await until(lambda: gated.started == 1)
        call.cancel()
        await until(lambda: gated.ended == 1)
        await until(lambda: metric(server.server, "muserve_calls_in_progress") == 0)
        assert metric(server.server, "muserve_request_seconds_count", code="CANCELLED", model="shapes") == 1
        await server.still_answers()


async def test_a_full_queue_says_when_to_try_again(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    small: dict[str, Any] = {"max_queue_rows": 8, "max_samples_per_call": 8, "max_series_per_call": 8}
    async with running(tmp_path, max_delay_ms=10_000.0, max_batch_rows=9, **small) as server:
        waiting = [asyncio.ensure_future(server.images.GenerateImages(Request(count=4))) for _ in range(2)]
        await until(lambda: metric(server.server, "muserve_calls_in_progress") == 2)
        call = server.images.GenerateImages(Request(count=5))
        error = await failure_of(call)
        assert isinstance(error, QueueFullError)
        assert error.retry_after_s >= 0.05
        status = status_pb2.Status.FromString(dict(await call.trailing_metadata())[STATUS_DETAILS_KEY])
        assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
        for task in waiting:
            task.cancel()
        await until(lambda: metric(server.server, "muserve_calls_in_progress") == 0)
        full = asyncio.ensure_future(server.images.GenerateImages(Request(count=8)))
        await until(lambda: metric(server.server, "muserve_calls_in_progress") == 1)
        full.cancel()
    async with running(tmp_path) as server:
        await server.still_answers()


async def test_calls_beyond_the_limit_are_refused_but_health_is_not(tmp_path: Path) -> None:
    from grpc_health.v1 import health_pb2, health_pb2_grpc

    image_bundle(tmp_path)
    gate = asyncio.Event()

    async def wait(_request: Request) -> None:
        await gate.wait()

    gated = Gated(wait)
    async with running(tmp_path, options=gated.options(), max_concurrent_calls=3) as server:
        calls = [asyncio.ensure_future(server.images.GenerateImages(Request())) for _ in range(3)]
        await until(lambda: gated.started == 3)
        error = await failure_of(server.images.GenerateImages(Request()))
        assert isinstance(error, QueueFullError)
        assert "max_concurrent_calls" in error.message
        assert error.retry_after_s > 0
        health = await health_pb2_grpc.HealthStub(server.channel).Check(health_pb2.HealthCheckRequest())
        assert health.status == health_pb2.HealthCheckResponse.SERVING
        gate.set()
        await asyncio.gather(*calls)
        await server.still_answers()


async def test_each_call_is_in_the_metrics(server: Running) -> None:
    await asyncio.gather(*(server.images.GenerateImages(Request(count=2)) for _ in range(5)))
    await failure_of(server.images.GenerateImages(Request(count=0)))
    await failure_of(server.images.GenerateImages(Request(model="nope")))
    await server.models.ListModels(model_pb2.ListModelsRequest())
    status, text = await asyncio.to_thread(get_http, server.server.http_port, "/metrics")
    assert status == 200
    for name in ("request", "queue", "compute", "encode"):
        found = {
            (labels["method"], labels["model"], labels["version"], labels["code"])
            for labels in scraped(text, f"muserve_{name}_seconds_count")
        }
        assert found == {
            (GENERATE, "shapes", "1", "OK"),
            (GENERATE, "shapes", "1", "INVALID_ARGUMENT"),
            (GENERATE, "", "", "NOT_FOUND"),
            ("/muserve.v1.ModelService/ListModels", "", "", "OK"),
        }
    assert scraped(text, "muserve_batch_rows_count") == [{"graph": "generator", "model": "shapes", "version": "1"}]
    assert metric(server.server, "muserve_batch_rows_sum") == 10
    assert metric(server.server, "muserve_request_seconds_count", code="OK", model="shapes") == 5
    assert metric(server.server, "muserve_calls_in_progress") == 0


async def test_debug_logs_each_call(server: Running, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG, logger="muserve_server")
    await server.images.GenerateImages(Request(), metadata=(("x-request-id", "one"),))
    await until(lambda: any(record.message == "call" for record in caplog.records))
    (record,) = [record for record in caplog.records if record.message == "call"]
    assert record.__dict__["request_id"] == "one"
    assert record.__dict__["code"] == grpc.StatusCode.OK.name


async def test_a_call_that_outlasts_the_grace_is_cut_off_and_the_server_stops(tmp_path: Path) -> None:
    image_bundle(tmp_path)

    async def forever(_request: Request) -> None:
        await asyncio.Event().wait()

    gated = Gated(forever)
    async with running(tmp_path, options=gated.options(), grace_s=0.1) as server:
        call = asyncio.ensure_future(server.images.GenerateImages(Request()))
        await until(lambda: gated.started == 1)
        async with asyncio.timeout(WAIT_S):
            await server.server.stop(drain=False)
        assert isinstance(await failure_of(call), UnavailableError)
        assert gated.ended == 1
