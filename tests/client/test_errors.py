"""However a call fails, it fails with an error of the contract."""

from __future__ import annotations

import asyncio
import gc
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import grpc
import pytest

from muserve.errors import (
    ERRORS,
    STATUS_DETAILS_KEY,
    CancelledCallError,
    DeadlineExceededError,
    FieldViolation,
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
    ModelRefusedError,
    MuserveError,
    QueueFullError,
    UnavailableError,
    UnimplementedError,
)
from muserve_client import AsyncClient, Client, InternalError, Retries
from tests.client.conftest import Served
from tests.client.fakes import Skin, both_skins, call, fail, fake_server, one_image
from tests.server.waiting import DEADLINES_S, WAIT_S

ONCE = {"retries": Retries(attempts=1)}


@both_skins
@pytest.mark.parametrize("kind", ERRORS, ids=lambda kind: kind.__name__)
def test_every_error_arrives_as_it_was_raised(skin: Skin, kind: type[MuserveError]) -> None:
    error = kind("what came, what is allowed", request_id="the-id")
    if isinstance(error, QueueFullError | UnavailableError):
        error.retry_after_s = 1.25
    if isinstance(error, InvalidRequestError):
        error = InvalidRequestError(violations=[FieldViolation("labels[3]", "is 'x'")], request_id="the-id")
    answer: Any = lambda _request, context, _number: fail(context, error)  # noqa: E731
    with fake_server(answer) as server, pytest.raises(MuserveError) as caught:
        call(skin, server.target, "images", client=ONCE)
    assert type(caught.value) is kind
    assert vars(caught.value) == vars(error)
    assert isinstance(caught.value.__cause__, grpc.RpcError)


@both_skins
def test_details_that_are_no_details_do_not_hide_the_error(skin: Skin) -> None:
    def answer(_request: Any, context: grpc.ServicerContext, _number: int) -> Any:
        context.set_trailing_metadata(((STATUS_DETAILS_KEY, b"\xff\xff\xff"),))
        context.abort(grpc.StatusCode.NOT_FOUND, "gone")

    with fake_server(answer) as server, pytest.raises(ModelNotFoundError, match="gone"):
        call(skin, server.target, "images")


@both_skins
def test_a_servicer_that_crashes_is_an_internal_error(skin: Skin) -> None:
    def answer(_request: Any, context: grpc.ServicerContext, _number: int) -> Any:
        context.abort(grpc.StatusCode.UNKNOWN, "crashed")

    with fake_server(answer) as server, pytest.raises(InternalError, match="crashed"):
        call(skin, server.target, "images")


@both_skins
def test_an_answer_that_is_no_answer_is_an_internal_error(skin: Skin) -> None:
    def garbage(_details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
        return grpc.unary_unary_rpc_method_handler(lambda _request, _context: b"\xff\xff")

    class Handler(grpc.GenericRpcHandler):  # type: ignore[misc]
        service = staticmethod(garbage)

    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads, handlers=[Handler()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with pytest.raises(InternalError):
                call(skin, f"127.0.0.1:{port}", "images")
        finally:
            server.stop(None).wait()


@both_skins
def test_real_refusals(skin: Skin, served: Served) -> None:
    with pytest.raises(ModelNotFoundError, match="shapes"):
        call(skin, served.target, "images", model="shape")
    with pytest.raises(ModelNotFoundError, match="version is 9"):
        call(skin, served.target, "images", model="shapes", version=9)
    with pytest.raises(ModelRefusedError, match="manifest") as caught:
        call(skin, served.target, "images", model="broken", request_id="refused")
    assert caught.value.request_id == "refused"


@both_skins
def test_a_request_that_the_client_may_not_send(skin: Skin, served: Served) -> None:
    with pytest.raises(MessageTooLargeError):
        call(skin, served.target, "images", model="x" * 2**20, client={"max_message_mib": 1})


@both_skins
def test_a_request_that_the_server_does_not_take(skin: Skin, served: Served) -> None:
    with pytest.raises(MessageTooLargeError):
        call(skin, served.target, "images", model="x" * (2**20 + 1))


@both_skins
def test_an_answer_that_the_client_does_not_take(skin: Skin) -> None:
    with fake_server(lambda *_: one_image(bytes(2**20))) as server:
        assert len(call(skin, server.target, "images")[0].png) == 2**20
        with pytest.raises(MessageTooLargeError):
            call(skin, server.target, "images", client={"max_message_mib": 1})


@both_skins
def test_an_answer_of_many_mebibytes_is_taken(skin: Skin) -> None:
    with fake_server(lambda *_: one_image(bytes(20 * 2**20))) as server:  # gRPC's own limit is 4 MiB
        assert len(call(skin, server.target, "images")[0].png) == 20 * 2**20


@both_skins
def test_a_late_answer_is_a_missed_deadline(skin: Skin) -> None:
    gone = threading.Event()

    def answer(_request: Any, context: grpc.ServicerContext, _number: int) -> Any:
        context.add_callback(gone.set)
        gone.wait(30)
        return one_image()

    with fake_server(answer) as server:
        for timeout_s in DEADLINES_S:
            with pytest.raises(DeadlineExceededError, match=rf"within {timeout_s} s; ask for less or raise") as caught:
                call(skin, server.target, "images", timeout_s=timeout_s)
            assert server.target in str(caught.value)
            if server.calls:
                break
        assert gone.wait(WAIT_S)  # the server was told
        assert caught.value.request_id == server.metadata[0]["x-request-id"]
    assert server.calls == 1


@both_skins
def test_nobody_there(skin: Skin) -> None:
    with pytest.raises(UnavailableError, match=r"^127\.0\.0\.1:1 does not answer: .*refused"):
        call(skin, "127.0.0.1:1", "images")


@both_skins
def test_not_a_muserve_server(skin: Skin, served: Served) -> None:
    with pytest.raises(UnavailableError, match="does not answer"):
        call(skin, f"127.0.0.1:{served.http_port}", "images", timeout_s=60, client=ONCE)


@both_skins
def test_a_server_without_the_method(skin: Skin) -> None:
    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads)
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            with pytest.raises(UnimplementedError):
                call(skin, f"127.0.0.1:{port}", "images")
        finally:
            server.stop(None).wait()


def test_a_closed_client_says_so() -> None:
    client = Client("127.0.0.1:1")
    client.close()
    client.close()
    with pytest.raises(RuntimeError, match="closed; make a new one"):
        client.images()


async def test_a_closed_async_client_says_so() -> None:
    client = AsyncClient("127.0.0.1:1")
    await client.close()
    await client.close()
    with pytest.raises(RuntimeError, match="closed; make a new one"):
        await client.images()


class Hanging:
    """Answers when its caller has gone."""

    def __init__(self) -> None:
        self.called, self.gone = threading.Event(), threading.Event()

    def __call__(self, _request: Any, context: grpc.ServicerContext, _number: int) -> Any:
        context.add_callback(self.gone.set)
        self.called.set()
        self.gone.wait(30)
        return one_image()


@pytest.mark.parametrize("attempts", [1, 5])
def test_closing_ends_a_running_call(attempts: int) -> None:
    hanging = Hanging()
    with fake_server(hanging) as server, ThreadPoolExecutor(1) as threads:
        client = Client(server.target, retries=Retries(attempts=attempts))
        running = threads.submit(client.images)
        assert hanging.called.wait(30)
        client.close()
        with pytest.raises(CancelledCallError):
            running.result(30)
        assert hanging.gone.wait(30)


def test_closing_just_before_a_call_is_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    client = Client("127.0.0.1:1")
    prepare = client._callable

    def prepare_and_close(method: Any) -> Any:
        send = prepare(method)
        client.close()
        return send

    monkeypatch.setattr(client, "_callable", prepare_and_close)
    with pytest.raises(CancelledCallError, match="closed"):
        client.images()


def test_closing_ends_a_wait_between_attempts() -> None:
    called = threading.Event()

    def answer(_request: Any, context: grpc.ServicerContext, _number: int) -> Any:
        called.set()
        fail(context, QueueFullError("full", retry_after_s=500))

    with fake_server(answer) as server, ThreadPoolExecutor(1) as threads:
        client = Client(server.target, timeout_s=1000)
        running = threads.submit(client.images)
        assert called.wait(WAIT_S)
        client.close()
        with pytest.raises(CancelledCallError):
            running.result(WAIT_S)


async def test_closing_ends_a_running_async_call() -> None:
    hanging = Hanging()
    with fake_server(hanging) as server:
        client = AsyncClient(server.target)
        running = asyncio.create_task(client.images())
        assert await asyncio.to_thread(hanging.called.wait, WAIT_S)
        await client.close()
        with pytest.raises(CancelledCallError, match="closed"):
            await running
        assert await asyncio.to_thread(hanging.gone.wait, WAIT_S)


async def test_closing_before_a_call_has_begun() -> None:
    with fake_server(lambda *_: one_image()) as server:
        client = AsyncClient(server.target)
        await client.images()
        running = asyncio.create_task(client.images())
        closing = asyncio.create_task(client.close())
        with pytest.raises(CancelledCallError, match="closed"):
            await running
        await closing


async def test_cancelling_the_task_cancels_the_call() -> None:
    hanging = Hanging()
    with fake_server(hanging) as server:
        async with AsyncClient(server.target) as client:
            running = asyncio.create_task(client.images())
            assert await asyncio.to_thread(hanging.called.wait, WAIT_S)
            running.cancel()
            with pytest.raises(asyncio.CancelledError):
                await running
            assert await asyncio.to_thread(hanging.gone.wait, WAIT_S)


async def test_a_timeout_of_the_caller_is_the_callers() -> None:
    with fake_server(Hanging()) as server:
        async with AsyncClient(server.target) as client:
            with pytest.raises(TimeoutError):
                async with asyncio.timeout(0.2):
                    await client.images()


def test_loops_one_after_the_other_leave_nothing_behind(served: Served, tmp_path: Path) -> None:
    for _ in range(3):
        call(AsyncClient, served.target, "images")
    gc.collect()  # an unclosed loop or socket would warn here, and warnings are errors
