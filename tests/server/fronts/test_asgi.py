"""The application inside Envoy, alone: how calls end when callers go, when the server stops, and when all is well."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from google.api import httpbody_pb2
from google.protobuf.wrappers_pb2 import StringValue

from muserve.errors import InvalidRequestError, QueueFullError
from muserve_server.fronts import Method
from muserve_server.fronts.envoy.asgi import AsgiFront
from muserve_server.fronts.envoy.descriptors import json_path
from muserve_server.fronts.envoy.framing import framed
from muserve_server.interceptors import CallContext
from tests.server.fronts.asgi_calls import Caller, parts_of
from tests.server.waiting import until

ECHO, HELD, PROBE, COUNT, EACH = "/t.S/Echo", "/t.S/Held", "/t.S/Probe", "/t.S/Count", "/t.S/Each"
PORT = 4711


class Handlers:
    """The methods of a table, and what became of their calls."""

    def __init__(self) -> None:
        self.contexts: list[CallContext] = []
        self.begun = self.cancelled = self.finished = 0
        self.gate = asyncio.Event()

    async def echo(self, data: bytes, call: CallContext) -> bytes:
        self.contexts.append(call)
        if data == b"bad":
            raise InvalidRequestError("it is bad, 100 % ü", request_id=call.request_id)
        return data

    async def held(self, data: bytes, call: CallContext) -> bytes:
        self.begun += 1
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise
        self.finished += 1
        return data

    async def count(self, data: bytes, call: CallContext) -> AsyncIterator[bytes]:
        self.begun += 1
        try:
            for number in range(3):
                yield data + str(number).encode()
            if data == b"fail":
                raise QueueFullError("full", retry_after_s=1)
            if data == b"wait":
                await self.gate.wait()
        except asyncio.CancelledError:
            self.cancelled += 1
            raise

    async def each(self, data: bytes, call: CallContext) -> AsyncIterator[bytes]:
        yield data.upper()

    def table(self) -> dict[str, Method]:
        methods = [
            Method(ECHO, self.echo, self.echo),
            Method(HELD, self.held, self.held),
            Method(PROBE, self.echo, self.echo, is_probe=True),
            Method(COUNT, self.count, self.count, responses_stream=True),
            Method(EACH, self.each, self.each, requests_stream=True, responses_stream=True, is_probe=True),
        ]
        return {method.path: method for method in methods}


class Open:
    """An open front and its handlers."""

    def __init__(self) -> None:
        self.handlers = Handlers()
        self.front = AsgiFront(PORT, self._listening, max_message_bytes=1000)

    async def _listening(self) -> None:
        return

    async def call(self, path: str, *messages: bytes, **headers: str) -> Caller:
        caller = caller_of(path, *messages, **headers)
        await self.front(caller.scope, caller.receive, caller.send)
        return caller

    def begin(self, path: str, *messages: bytes) -> tuple[Caller, asyncio.Task[None]]:
        caller = caller_of(path, *messages)
        return caller, asyncio.create_task(self.front(caller.scope, caller.receive, caller.send))


def caller_of(path: str, *messages: bytes, **headers: str) -> Caller:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Caller(path, parts_of(*map(framed, messages or (b"abc",))), named)


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    made = Open()
    assert await made.front.open(made.handlers.table()) == PORT
    yield made
    await made.front.close(0)


async def test_an_answer_is_headers_a_message_and_trailers(opened: Open) -> None:
    caller = await opened.call(ECHO, b"abc")
    assert [event["type"] for event in caller.sent] == [
        "http.response.start", "http.response.body", "http.response.trailers",
    ]  # fmt: skip
    assert caller.body == framed(b"abc")
    assert caller.status[b"grpc-status"] == b"0"
    assert caller.status[b"content-type"] == b"application/grpc"


async def test_the_context_is_made_of_the_headers(opened: Open) -> None:
    await opened.call(ECHO, x_request_id="abc", grpc_timeout="1500m")
    await opened.call(ECHO, x_request_id="y" * 200)
    await opened.call(ECHO)
    first, long, drawn = opened.handlers.contexts
    assert (first.method, first.request_id, first.time_remaining_s) == (ECHO, "abc", 1.5)
    assert long.request_id == "y" * 128
    assert drawn.request_id
    assert drawn.time_remaining_s is None


async def test_an_error_is_headers_alone(opened: Open) -> None:
    caller = await opened.call(ECHO, b"bad", x_request_id="r-1")
    assert [event["type"] for event in caller.sent] == ["http.response.start", "http.response.body"]
    assert caller.body == b""
    assert caller.status[b"grpc-status"] == b"3"
    assert caller.status[b"grpc-message"] == b"it is bad, 100 %25 %C3%BC"
    assert b"grpc-status-details-bin" in caller.status


@pytest.mark.parametrize(
    ("path", "messages", "headers", "code"),
    [
        ("/t.S/None", (b"",), {}, b"12"),
        (ECHO, (b"a", b"b"), {}, b"3"),
        (ECHO, (b"x" * 1001,), {}, b"8"),
        (ECHO, (b"a",), {"grpc_timeout": "soon"}, b"3"),
        (COUNT, (b"a", b"b"), {}, b"3"),
        (COUNT, (b"a",), {"grpc_timeout": "soon"}, b"3"),
    ],
)
async def test_what_is_no_call_is_refused(
    opened: Open, path: str, messages: tuple[bytes, ...], headers: dict[str, str], code: bytes
) -> None:
    caller = await opened.call(path, *messages, **headers)
    assert caller.status[b"grpc-status"] == code
    assert not opened.handlers.contexts


async def test_a_stream_is_sent_as_it_comes_and_may_fail_at_its_end(opened: Open) -> None:
    caller = await opened.call(COUNT, b"n")
    assert caller.body == b"".join(map(framed, (b"n0", b"n1", b"n2")))
    assert caller.status[b"grpc-status"] == b"0"
    failed = await opened.call(COUNT, b"fail")
    assert failed.body == b"".join(map(framed, (b"fail0", b"fail1", b"fail2")))
    assert failed.sent[-1]["type"] == "http.response.trailers"
    assert failed.status[b"grpc-status"] == b"8"


async def test_each_request_of_a_stream_is_answered(opened: Open) -> None:
    caller = await opened.call(EACH, b"a", b"b", b"c")
    assert caller.body == b"".join(map(framed, (b"A", b"B", b"C")))


async def test_json_reaches_the_mirror_of_a_method(opened: Open) -> None:
    body = httpbody_pb2.HttpBody(data=b'{"a": 1}').SerializeToString()
    caller = await opened.call(json_path(ECHO), body)
    assert caller.body == framed(b'{"a": 1}')
    assert opened.handlers.contexts[0].method == ECHO
    assert (await opened.call(json_path(EACH), body)).status[b"grpc-status"] == b"12"


async def test_a_mirror_that_was_not_called_by_envoy_is_the_callers_fault(opened: Open) -> None:
    caller = await opened.call(json_path(ECHO), b"\xff\xff\xff")
    assert caller.status[b"grpc-status"] == b"3"


@pytest.mark.parametrize(("path", "message"), [(HELD, b"x"), (COUNT, b"wait")])
async def test_who_goes_is_not_worked_for(opened: Open, path: str, message: bytes) -> None:
    caller, task = opened.begin(path, message)
    other, kept = opened.begin(path, message)
    await until(lambda: opened.handlers.begun == 2)
    sent = len(caller.sent)
    caller.gone.set()
    await until(lambda: opened.handlers.cancelled == 1)
    await task
    assert b"grpc-status" not in caller.status  # nobody is there to hear
    assert len(caller.sent) <= sent + 3
    opened.handlers.gate.set()
    await kept
    assert other.status[b"grpc-status"] == b"0"
    assert opened.handlers.cancelled == 1


async def test_before_it_is_open_it_says_try_again() -> None:
    made = Open()
    caller = await made.call(ECHO)
    assert caller.status[b"grpc-status"] == b"14"
    assert b"starting" in caller.status[b"grpc-message"]


async def test_closing_waits_for_calls_and_refuses_new_ones_but_answers_probes(opened: Open) -> None:
    caller, task = opened.begin(HELD)
    await until(lambda: opened.handlers.begun == 1)
    closing = asyncio.create_task(opened.front.close(1000))
    await asyncio.sleep(0)
    refused = await opened.call(ECHO)
    assert refused.status[b"grpc-status"] == b"14"
    assert (await opened.call(json_path(ECHO))).status[b"grpc-status"] == b"14"
    assert (await opened.call(PROBE)).status[b"grpc-status"] == b"0"
    assert not closing.done()
    opened.handlers.gate.set()
    await closing
    await task
    assert (opened.handlers.finished, opened.handlers.cancelled) == (1, 0)
    assert caller.status[b"grpc-status"] == b"0"
    assert (await opened.call(PROBE)).status[b"grpc-status"] == b"0"


async def test_closing_ends_what_takes_too_long(opened: Open) -> None:
    caller, task = opened.begin(HELD)
    await until(lambda: opened.handlers.begun == 1)
    await opened.front.close(0)
    await task
    assert opened.handlers.cancelled == 1
    assert caller.status[b"grpc-status"] == b"14"
    assert caller.status[b"grpc-message"] == b"the server stops"


async def test_a_message_of_protobuf_goes_through_whole(opened: Open) -> None:
    message = StringValue(value="ü" * 100).SerializeToString()
    assert (await opened.call(ECHO, message)).body == framed(message)
