"""Several servers of grpcio on one port: all take calls, probes get through, and nobody else may have the port."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest
from grpc_health.v1 import health_pb2
from grpc_health.v1.health_pb2_grpc import HealthStub

from muserve.errors import UnimplementedError
from muserve_server.fronts import FrontError, GrpcioFront, GrpcioOptions, make_table
from muserve_server.interceptors import CallContext
from muserve_server.services import Service, reflection_service
from tests.server.calling import channel_to, failure_of
from tests.server.waiting import until

HEALTH = health_pb2.DESCRIPTOR.services_by_name["Health"]


class Served:
    """A front whose Check waits until it is let go, and counts."""

    def __init__(self, front: GrpcioFront, port: int) -> None:
        self.front = front
        self.port = port


@asynccontextmanager
async def opened(handler: Any, **changes: Any) -> AsyncIterator[Served]:
    options: dict[str, Any] = {
        "host": "127.0.0.1", "port": 0, "servers": 4, "share_port": False, "max_message_bytes": 2**20,
        "max_calls": 1000, "max_streams": 100, "max_connection_age_s": 0.0,
    }  # fmt: skip
    front = GrpcioFront(GrpcioOptions(**(options | changes)))
    table = make_table(
        [Service(HEALTH, {"Check": handler}), reflection_service([HEALTH.full_name])], (), max_response_bytes=2**20
    )
    try:
        yield Served(front, await front.open(table))
    finally:
        await front.close(0)


async def serving(_request: Any, _call: CallContext) -> health_pb2.HealthCheckResponse:
    return health_pb2.HealthCheckResponse(status=health_pb2.HealthCheckResponse.SERVING)


async def test_each_of_many_connections_is_served() -> None:
    async with opened(serving) as served, AsyncExitStack() as stack:
        for number in range(24):
            channel = await stack.enter_async_context(channel_to(served.port, **{"grpc.use_local_subchannel_pool": 1}))
            request = health_pb2.HealthCheckRequest(service=str(number))
            assert (await HealthStub(channel).Check(request)).status == health_pb2.HealthCheckResponse.SERVING


async def test_a_method_without_handler_is_unimplemented() -> None:
    async with opened(serving) as served, channel_to(served.port) as channel:
        failure = await failure_of(HealthStub(channel).List(health_pb2.HealthListRequest()))
        assert isinstance(failure, UnimplementedError)


async def test_calls_beyond_a_connections_streams_wait_while_other_connections_are_served() -> None:
    gate, running = asyncio.Event(), 0

    async def held(request: health_pb2.HealthCheckRequest, call: CallContext) -> health_pb2.HealthCheckResponse:
        nonlocal running
        if request.service == "held":
            running += 1
            await gate.wait()
        return await serving(request, call)

    local = {"grpc.use_local_subchannel_pool": 1}
    async with opened(held, max_streams=8) as served, channel_to(served.port, **local) as greedy:
        calls = [
            asyncio.ensure_future(HealthStub(greedy).Check(health_pb2.HealthCheckRequest(service="held")))
            for _ in range(50)
        ]
        await until(lambda: running >= 8)
        async with channel_to(served.port, **local) as other:
            assert (await HealthStub(other).Check(health_pb2.HealthCheckRequest())).status
        assert running == 8
        gate.set()
        assert len(await asyncio.gather(*calls)) == 50


@pytest.mark.parametrize("servers", [1, 4])
async def test_a_port_in_use_is_refused_however_many_servers_share_it(servers: int) -> None:
    async with opened(serving) as served:
        with pytest.raises(FrontError, match=rf"grpc_port: 127\.0\.0\.1:{served.port} is in use.*--grpc-port"):
            async with opened(serving, port=served.port, servers=servers):
                pass
        async with opened(serving, port=served.port, share_port=True) as sharing:
            assert sharing.port == served.port


@pytest.mark.parametrize("host", ["no-such-host.invalid", "203.0.113.1", "[::1]"])
@pytest.mark.parametrize("servers", [1, 4])
async def test_a_host_that_is_none_of_this_machines_is_named(host: str, servers: int) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(FrontError, match=re.escape(f"host is {host!r}")):
        async with opened(serving, host=host, port=port, servers=servers):
            pass
