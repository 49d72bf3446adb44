"""What the table does for every front: reads requests, and lets no long one stop the others."""

from __future__ import annotations

import asyncio
import json
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from grpc_health.v1 import health_pb2

from muserve.errors import InvalidRequestError
from muserve_server.fronts import Method, make_table
from muserve_server.interceptors import CallContext
from muserve_server.services import Service

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]
CALL = CallContext("/grpc.health.v1.Health/Check", "id", None)


async def check(request: health_pb2.HealthCheckRequest, _call: CallContext) -> health_pb2.HealthCheckResponse:
    return health_pb2.HealthCheckResponse(status=len(request.service))


def served(long_reads: ThreadPoolExecutor | None = None) -> Method:
    table = make_table([Service(HEALTH, {"Check": check})], (), max_response_bytes=2**20, long_reads=long_reads)
    return table[CALL.method]


def body(name: str) -> bytes:
    return json.dumps({"service": name}).encode()


async def ask(method: Method, data: bytes) -> int:
    response: Any = await method.json_handler(data, CALL)
    return int(health_pb2.HealthCheckResponse.FromString(response).status)


async def test_long_json_is_read_beside_the_event_loop_and_short_json_is_not_held_up() -> None:
    gate = threading.Event()
    with ThreadPoolExecutor(1) as thread:
        thread.submit(gate.wait)  # another long one is read just now
        method = served(thread)
        long = asyncio.create_task(ask(method, body("a" * 100_000)))
        gone = asyncio.create_task(ask(method, body("b" * 100_000)))
        assert await ask(method, body("short")) == 5
        gone.cancel()
        assert not long.done()
        gate.set()
        assert await long == 100_000
        with pytest.raises(asyncio.CancelledError):
            await gone


async def test_what_is_wrong_with_long_json_is_said() -> None:
    with pytest.raises(InvalidRequestError, match="the body is not JSON"):
        await ask(served(), b"[" * 100_000)
    with pytest.raises(InvalidRequestError, match="is there twice"):
        await ask(served(), b'{"service": "%s", "service": ""}' % (b"a" * 100_000))
