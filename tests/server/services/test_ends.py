"""Deadlines, cancels, full queues and the end of a server: how calls end, and what is counted."""

from __future__ import annotations

import asyncio
import logging
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.rpc import error_details_pb2, status_pb2

from muserve.errors import (
    STATUS_DETAILS_KEY,
    DeadlineExceededError,
    InternalError,
    QueueFullError,
    UnavailableError,
)
from muserve.v1 import model_pb2
from tests.bundles import image_bundle
from tests.server.calling import failure_of, get_http, metric, scraped
from tests.server.services.imaging import GENERATE, Gated, Request, Running, running
from tests.server.waiting import DEADLINES_S, WAIT_S, until


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
