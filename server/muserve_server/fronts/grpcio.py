"""The front in plain Python: `grpc.aio`, wherever grpcio runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Never

import grpc
from grpc import aio

from muserve.errors import STATUS_DETAILS_KEY, MuserveError, to_status
from muserve_server.fronts.addresses import check_address, joined
from muserve_server.fronts.calls import REQUEST_ID_KEY, call_contexts
from muserve_server.fronts.front import FrontError
from muserve_server.fronts.table import Method, Table

__all__ = ["MIN_PING_INTERVAL_MS", "GrpcioFront", "GrpcioOptions"]

_CONNECTION_GRACE_MS = 30_000
MIN_PING_INTERVAL_MS = 30_000


@dataclass(frozen=True)
class GrpcioOptions:
    """What a front of grpcio promises and how it is opened."""

    host: str
    """Address or name to listen on."""
    port: int
    """Port; 0 takes a free one."""
    servers: int
    """How many servers of `grpc.aio` share the port. Each takes one call at a time from its core."""
    share_port: bool
    """Whether other processes may use the port too."""
    max_message_bytes: int
    """Largest message in either direction."""
    max_calls: int
    """Most calls of one server, above what the layers allow: room for probes, and for refusals that say why."""
    max_streams: int
    """Most calls of a connection at a time; its further ones wait in the client."""
    max_connection_age_s: float
    """After which clients reconnect; 0 for never."""

    def arguments(self) -> list[tuple[str, int]]:
        """Returns gRPC's arguments."""
        arguments = [
            ("grpc.max_receive_message_length", self.max_message_bytes),
            ("grpc.max_send_message_length", self.max_message_bytes),
            ("grpc.max_concurrent_streams", self.max_streams),
            ("grpc.http.overload_protection", 0),  # it refuses, at random, a client that is just below the limit
            ("grpc.so_reuseport", int(self.share_port or self.servers > 1)),
            ("grpc.keepalive_permit_without_calls", 1),
            ("grpc.http2.min_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
            ("grpc.http2.min_recv_ping_interval_without_data_ms", MIN_PING_INTERVAL_MS),
        ]
        if self.max_connection_age_s:
            arguments += [
                ("grpc.max_connection_age_ms", int(self.max_connection_age_s * 1e3)),
                ("grpc.max_connection_age_grace_ms", _CONNECTION_GRACE_MS),
            ]
        return arguments


class GrpcioFront:
    """Several servers of `grpc.aio` on one port."""

    def __init__(self, options: GrpcioOptions) -> None:
        self._options = options
        self._servers: list[aio.Server] = []

    async def open(self, table: Table) -> int:
        """Serves the methods of a table from now on; see `Front`."""
        options = self._options
        # Not left to gRPC: it gives no reason, and servers that share a port among themselves share it with anybody.
        check_address(options.host, options.port, setting="grpc_port", share_port=options.share_port)
        handlers = _by_service(table.values())
        port = options.port
        for _ in range(options.servers):
            server = aio.server(options=options.arguments(), maximum_concurrent_rpcs=options.max_calls)
            for service, methods in handlers.items():
                server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, methods),))
                # Methods that the core does not know wait in a short queue of their own, from which a burst of calls
                # is cancelled.
                server.add_registered_method_handlers(service, methods)
            try:
                port = int(server.add_insecure_port(joined(options.host, port)))
            except RuntimeError as error:
                text = f"grpc_port: {joined(options.host, port)} cannot be opened; choose another with --grpc-port"
                raise FrontError(text) from error
            self._servers.append(server)
        for server in self._servers:
            await server.start()
        return port

    async def close(self, grace_s: float) -> None:
        """Takes no more calls, and waits for those that run; see `Front`."""
        await asyncio.gather(*(server.stop(grace_s) for server in self._servers))


def _by_service(methods: Iterable[Method]) -> dict[str, dict[str, grpc.RpcMethodHandler]]:
    """Returns grpcio's handlers by service and by name of the method."""
    contexts = call_contexts()

    def service(method: Method) -> str:
        return method.path.split("/")[1]

    grouped = groupby(sorted(methods, key=service), key=service)
    return {name: {m.path.split("/")[2]: _handler(m, contexts) for m in group} for name, group in grouped}


def _handler(method: Method, contexts: Any) -> grpc.RpcMethodHandler:
    path, answer = method.path, method.handler

    async def unary(request: bytes, context: Any) -> bytes:
        request_id = _given_id(context.invocation_metadata())
        try:
            return await answer(request, contexts(path, request_id, context.time_remaining()))  # type: ignore[no-any-return]
        except MuserveError as error:
            await _abort(context, error)

    async def stream(requests: AsyncIterator[bytes], context: Any) -> AsyncIterator[bytes]:
        request_id = _given_id(context.invocation_metadata())
        try:
            async for request in requests:
                async for response in answer(request, contexts(path, request_id, context.time_remaining())):
                    yield response
        except MuserveError as error:
            await _abort(context, error)

    async def responses(request: bytes, context: Any) -> AsyncIterator[bytes]:
        async def one() -> AsyncIterator[bytes]:
            yield request

        async for response in stream(one(), context):
            yield response

    if method.requests_stream:
        return grpc.stream_stream_rpc_method_handler(stream)
    if method.responses_stream:
        return grpc.unary_stream_rpc_method_handler(responses)
    return grpc.unary_unary_rpc_method_handler(unary)


async def _abort(context: Any, error: MuserveError) -> Never:
    details = to_status(error).SerializeToString()
    await context.abort(error.code, error.message, ((STATUS_DETAILS_KEY, details),))
    raise AssertionError("abort raises")


def _given_id(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    for key, value in metadata:
        if key == REQUEST_ID_KEY and isinstance(value, str) and value:
            return value
    return ""
