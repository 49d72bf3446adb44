"""What callers may rely on, whichever front serves them: each call is answered by both, with the same bytes."""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import AsyncIterator, Iterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.descriptor import MethodDescriptor
from google.rpc import error_details_pb2, status_pb2
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muserve.errors import (
    STATUS_DETAILS_KEY,
    CancelledCallError,
    DeadlineExceededError,
    InternalError,
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
    ModelRefusedError,
    MuserveError,
    QueueFullError,
    UnavailableError,
    UnimplementedError,
    from_status,
)
from muserve.v1 import image_pb2
from muserve_server.fronts.envoy.process import missing
from tests.e2e.every_rpc import FAMILIES, constant, every_method, requests_of, write_models
from tests.e2e.patient import ECHO, FAIL, FOREVER, install_patient, patient_request
from tests.server.calling import channel_to, failure_of, get_http
from tests.server.waiting import DEADLINES_S, WAIT_S
from tests.servers import FRONTS, ServerProcess, server_process

pytestmark = pytest.mark.fronts

NAMES = ("grpcio", "envoy")
GENERATE = "/muserve.v1.ImageService/GenerateImages"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
Request = image_pb2.GenerateImagesRequest


@pytest.fixture(scope="module")
def both(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Mapping[str, ServerProcess]]:
    """A server behind each front, of the same models."""
    if missing():
        pytest.skip(missing())
    models = tmp_path_factory.mktemp("models")
    write_models(models)
    environ = install_patient(tmp_path_factory.mktemp("site"), models)
    flags = (
        *("--default-models", "image=plain", "--max-message-mib", "1", "--drain-delay-s", "0"),
        *("--max-samples-per-call", "8000", "--max-queue-rows", "8000", "--poll-interval-s", "0"),
    )
    with ExitStack() as stack:
        yield {
            front: stack.enter_context(server_process(models, *flags, front=front, environ=environ)) for front in NAMES
        }


@asynccontextmanager
async def channels(servers: Mapping[str, ServerProcess]) -> AsyncIterator[tuple[aio.Channel, aio.Channel]]:
    async with (
        channel_to(servers["grpcio"].grpc_port) as grpcio,
        channel_to(servers["envoy"].grpc_port) as envoy,
    ):
        yield grpcio, envoy


@pytest.mark.parametrize("method", every_method(), ids=lambda method: method.full_name)
async def test_every_rpc_has_the_same_answer(both: Mapping[str, ServerProcess], method: MethodDescriptor) -> None:
    requests = requests_of(method)
    assert requests, f"{method.full_name} has no request in tests/e2e/every_rpc.py"
    async with channels(both) as pair:
        for request in requests:
            grpcio, envoy = [await answers(channel, method, request.SerializeToString()) for channel in pair]
            assert grpcio == envoy
            assert grpcio


async def answers(channel: aio.Channel, method: MethodDescriptor, request: bytes) -> list[Any]:
    """The answers to a request, and the metadata that callers see with them."""
    path = f"/{method.containing_service.full_name}/{method.name}"
    metadata = (("x-request-id", "same"),)
    if method.client_streaming:
        call: Any = channel.stream_stream(path)(iter([request, request]), metadata=metadata)
        return [constant(method, response) async for response in call]
    if method.server_streaming:
        call = channel.unary_stream(path)(request, metadata=metadata)
        first = constant(method, await call.read())
        call.cancel()
        return [first]
    return [constant(method, await channel.unary_unary(path)(request, metadata=metadata))]


@dataclass(frozen=True)
class Bad:
    """A call that fails."""

    error: type[MuserveError]
    text: str
    """Part of its message."""
    request: bytes
    path: str = GENERATE


BAD = {
    "fields": Bad(InvalidRequestError, "count: is", Request(count=9000, truncation=3).SerializeToString()),
    "odd": Bad(InvalidRequestError, "labels", Request(labels=["100 %\n\x00 ü \N{GRINNING FACE}"]).SerializeToString()),
    "long": Bad(InvalidRequestError, "labels", Request(model="labelled", labels=["ü" * 9999] * 50).SerializeToString()),
    "no message": Bad(InvalidRequestError, "not a message", b"\xff" * 10),
    "model": Bad(ModelNotFoundError, "model is 'nope'; this server has", Request(model="nope").SerializeToString()),
    "version": Bad(ModelNotFoundError, "version is 9", Request(version=9).SerializeToString()),
    "refused": Bad(ModelRefusedError, "generator.onnx", Request(model="plain", version=2).SerializeToString()),
    "large answer": Bad(MessageTooLargeError, "max_message_mib", Request(count=8000).SerializeToString()),
    "inside": Bad(InternalError, "under request id same", patient_request(FAIL), ECHO),
    "health": Bad(ModelNotFoundError, "", health_pb2.HealthCheckRequest(service="no").SerializeToString(),
                  "/grpc.health.v1.Health/Check"),
}  # fmt: skip


@pytest.mark.parametrize("bad", BAD.values(), ids=BAD)
async def test_every_error_is_the_same_to_its_last_detail(both: Mapping[str, ServerProcess], bad: Bad) -> None:
    async with channels(both) as pair:
        grpcio, envoy = [await failure(channel, bad) for channel in pair]
        assert grpcio == envoy
        code, message, details = grpcio
        error = from_status(code, message, details)
        assert type(error) is bad.error
        assert bad.text in error.message
        if bad.error is InvalidRequestError and bad.text != "not a message":
            assert error.violations  # type: ignore[attr-defined]
        for channel in pair:
            assert await channel.unary_unary(GENERATE)(Request(seed=1).SerializeToString())


async def failure(channel: aio.Channel, bad: Bad) -> tuple[grpc.StatusCode, str, bytes]:
    with pytest.raises(aio.AioRpcError) as caught:
        await channel.unary_unary(bad.path)(bad.request, metadata=(("x-request-id", "same"),))
    trailing: Any = dict(caught.value.trailing_metadata() or ())
    details = re.sub(rb"has \d{7} bytes", b"has 0000000 bytes", trailing.get(STATUS_DETAILS_KEY, b""))  # with its times
    return caught.value.code(), re.sub(r"has \d{7} bytes", "has 0000000 bytes", caught.value.details() or ""), details


@pytest.mark.parametrize("path", ["/muserve.v1.ImageService/Nope", "/muserve.v9.Nope/Nope", "/nope"])
async def test_an_unknown_method_is_unimplemented(both: Mapping[str, ServerProcess], path: str) -> None:
    async with channels(both) as pair:
        for channel in pair:
            assert isinstance(await failure_of(channel.unary_unary(path)(b"")), UnimplementedError)


async def test_a_request_above_the_limit_is_refused_and_one_below_is_not(both: Mapping[str, ServerProcess]) -> None:
    async with channels(both) as pair:
        for channel in pair:
            large = channel.unary_unary(GENERATE)(Request(model="x" * 2**20).SerializeToString())
            assert isinstance(await failure_of(large), MessageTooLargeError)
            fits = channel.unary_unary(GENERATE)(Request(model="x" * (2**20 - 100)).SerializeToString())
            assert isinstance(await failure_of(fits), ModelNotFoundError)


@pytest.mark.parametrize("compression", [grpc.Compression.Gzip, grpc.Compression.Deflate])
async def test_compressed_requests_are_read(both: Mapping[str, ServerProcess], compression: grpc.Compression) -> None:
    request = Request(model="labelled", labels=["cat", "dog"] * 40, seed=1)
    async with channels(both) as pair:
        for channel in pair:
            call = channel.unary_unary(GENERATE, Request.SerializeToString, image_pb2.GenerateImagesResponse.FromString)
            plain, small = await call(request), await call(request, compression=compression)
            assert [image.png for image in small.images] == [image.png for image in plain.images]
            bomb = call(Request(model="x" * 2**21), compression=compression)
            assert isinstance(await failure_of(bomb), MessageTooLargeError)


async def test_request_ids_are_the_callers_or_drawn(both: Mapping[str, ServerProcess]) -> None:
    async with channels(both) as pair:
        for channel in pair:
            call = channel.unary_unary(GENERATE, Request.SerializeToString, image_pb2.GenerateImagesResponse.FromString)
            long = await call(Request(), metadata=(("x-request-id", "y" * 1000),))
            assert long.info.request_id == "y" * 128
            drawn = [(await call(Request())).info.request_id for _ in range(2)]
            assert all(drawn)
            assert len(set(drawn)) == 2


async def test_a_deadline_in_the_past_is_no_accident(both: Mapping[str, ServerProcess]) -> None:
    async with channels(both) as pair:
        for channel in pair:
            assert isinstance(await failure_of(channel.unary_unary(GENERATE)(b"", timeout=-1)), DeadlineExceededError)
            assert await channel.unary_unary(GENERATE)(b"")


async def test_under_mixed_load_the_bytes_are_those_of_the_other_front(both: Mapping[str, ServerProcess]) -> None:
    """Everything at once, with cancels and deadlines between: what is answered is what the other front answers."""
    async with channels(both) as (grpcio, envoy):
        alone = {
            (family.name, index): family.media(await family.call(grpcio)(request))
            for family in FAMILIES
            for index, request in enumerate(family.good)
        }
        ends = {
            (family.name, index): await code_of(family.call(grpcio)(request))
            for family in FAMILIES
            for index, (request, _) in enumerate(family.bad)
        }
        assert grpc.StatusCode.INVALID_ARGUMENT in ends.values()
        dice = random.Random(5)
        kept, failing, dropped = [], [], []
        for family in FAMILIES * 4:
            call = family.call(envoy)
            kept += [((family, index), call(request)) for index, request in enumerate(family.good)]
            failing += [(ends[family.name, index], call(bad)) for index, (bad, _) in enumerate(family.bad)]
            dropped += [asyncio.ensure_future(call(request)) for request in family.good]
            dropped += [asyncio.ensure_future(call(request, timeout=dice.uniform(0, 0.05))) for request in family.good]
        for task in dropped[::2]:
            task.cancel()
        for (family, index), call in kept:
            assert family.media(await call) == alone[family.name, index], (family.name, index)
        assert [await code_of(call) for _, call in failing] == [code for code, _ in failing]
        await asyncio.gather(*dropped, return_exceptions=True)
        await until_metric(both["envoy"], "muserve_calls_in_progress", 0)


async def code_of(call: Any) -> grpc.StatusCode:
    """Waits until a call has ended, and says how."""
    return await call.code()


def total(server: ServerProcess, name: str, **labels: str) -> float:
    """Sums the samples of a metric that have these labels, as Prometheus would read them."""
    found = 0.0
    for line in get_http(server.http_port, "/metrics")[1].splitlines():
        if line.startswith((f"{name} ", f"{name}{{")) and all(
            f'{key}="{value}"' in line for key, value in labels.items()
        ):
            found += float(line.rsplit(" ", 1)[1])
    return found


async def until_metric(server: ServerProcess, name: str, least: float, **labels: str) -> None:
    """Waits until a metric is so large; for 0, until it is 0."""
    async with asyncio.timeout(WAIT_S):
        while (value := await asyncio.to_thread(total, server, name, **labels)) < least or (not least and value):  # noqa: ASYNC110
            await asyncio.sleep(0.01)


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("how", ["cancel", "deadline", "hang up"])
async def test_work_that_nobody_waits_for_stops(both: Mapping[str, ServerProcess], front: str, how: str) -> None:
    server = both[front]
    code = "DEADLINE_EXCEEDED" if how == "deadline" else "CANCELLED"

    def ended() -> float:
        return total(server, "muserve_request_seconds_count", code=code, method=ECHO)

    before = await asyncio.to_thread(ended)
    for timeout in DEADLINES_S if how == "deadline" else (None,):
        async with channel_to(server.grpc_port, **{"grpc.use_local_subchannel_pool": 1}) as other:
            call = other.unary_unary(ECHO)(patient_request(FOREVER), timeout=timeout)
            task = asyncio.ensure_future(call)
            if how != "deadline":
                await until_metric(server, "muserve_calls_in_progress", 1)
            if how == "cancel":
                call.cancel()
            if how == "hang up":
                await other.close()
            await asyncio.gather(task, return_exceptions=True)
        if await asyncio.to_thread(ended) > before:
            break
    await until_metric(server, "muserve_request_seconds_count", before + 1, code=code, method=ECHO)
    await until_metric(server, "muserve_calls_in_progress", 0)
    async with channel_to(server.grpc_port) as channel:
        echo = channel.unary_unary(ECHO)
        await echo(patient_request(1.0))  # after it, the run that was going has ended
        runs = await asyncio.to_thread(total, server, "muserve_batch_rows_count", model="double")
        await echo(patient_request(1.0))
        assert await asyncio.to_thread(total, server, "muserve_batch_rows_count", model="double") == runs + 1


@pytest.mark.parametrize("front", FRONTS)
async def test_a_full_queue_says_when_to_try_again(tmp_path: Path, front: str) -> None:
    models = tmp_path / "models"
    environ = install_patient(tmp_path / "site", models)
    with server_process(
        models, "--max-concurrent-calls", "2", "--drain-delay-s", "0", front=front, environ=environ
    ) as server:
        async with channel_to(server.grpc_port) as channel:
            held = [asyncio.ensure_future(channel.unary_unary(ECHO)(patient_request(FOREVER))) for _ in range(2)]
            await until_metric(server, "muserve_calls_in_progress", 2)
            call = channel.unary_unary(ECHO)(patient_request(1.0))
            error = await failure_of(call)
            assert isinstance(error, QueueFullError)
            assert error.retry_after_s > 0
            trailing: Any = dict(await call.trailing_metadata())
            status = status_pb2.Status.FromString(trailing[STATUS_DETAILS_KEY])
            assert any(detail.Is(error_details_pb2.RetryInfo.DESCRIPTOR) for detail in status.details)
            health = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest())
            assert health.status == SERVING
            for task in held:
                task.cancel()
            await until_metric(server, "muserve_calls_in_progress", 0)
            assert await channel.unary_unary(ECHO)(patient_request(1.0))


@pytest.mark.parametrize("front", FRONTS)
async def test_while_it_stops_calls_that_run_go_on_and_new_ones_are_told(tmp_path: Path, front: str) -> None:
    """And who watches health hears that it stops, and that it has."""
    models = tmp_path / "models"
    environ = install_patient(tmp_path / "site", models)
    flags = ("--drain-delay-s", "0", "--grace-s", "600")
    with server_process(models, *flags, front=front, environ=environ) as server:
        local = {"grpc.use_local_subchannel_pool": 1}
        async with channel_to(server.grpc_port, **local) as channel, channel_to(server.grpc_port, **local) as other:
            running = channel.unary_unary(ECHO)(patient_request(FOREVER))
            held = asyncio.ensure_future(running)
            watch = health_pb2_grpc.HealthStub(other).Watch(health_pb2.HealthCheckRequest())
            assert (await watch.read()).status == SERVING
            await until_metric(server, "muserve_calls_in_progress", 1)
            server.terminate()
            assert (await watch.read()).status == NOT_SERVING
            with_end = [response async for response in _rest(watch)]
            assert all(response.status == NOT_SERVING for response in with_end)
            error = await failure_of(_until_it_fails(other))
            # grpcio cancels those that come just then, which clients take for UNAVAILABLE (docs/decisions/0003).
            assert isinstance(error, UnavailableError if front == "envoy" else (UnavailableError, CancelledCallError))
            assert not held.done()
            running.cancel()
            assert await asyncio.to_thread(server.wait) == 0


async def _until_it_fails(channel: aio.Channel) -> None:
    """Calls on: in the moment between the end of a watch and that of the front calls are answered."""
    while True:
        await channel.unary_unary(ECHO)(patient_request(1.0), timeout=WAIT_S)


async def _rest(watch: Any) -> AsyncIterator[Any]:
    """What comes until a watch ends, however it does."""
    while True:
        try:
            response = await watch.read()
        except aio.AioRpcError:
            return
        if response is aio.EOF:
            return
        yield response
