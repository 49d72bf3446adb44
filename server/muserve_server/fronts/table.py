"""What every front serves: one table of methods, bytes in and bytes out."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import DecodeError, Message

from muserve.errors import InvalidRequestError, MessageTooLargeError
from muserve_server.fronts.json_requests import read_json
from muserve_server.interceptors import CallContext, Layer, within
from muserve_server.services import Service

__all__ = ["BytesHandler", "Method", "Table", "make_table"]

BytesHandler = Callable[[bytes, CallContext], Awaitable[bytes] | AsyncIterator[bytes]]
"""Answers a request with a response, or with a stream of them; raises `MuserveError`."""


@dataclass(frozen=True)
class Method:
    """One method of the API, as a front calls it."""

    path: str
    """"/muserve.v1.ImageService/GenerateImages"."""
    handler: Any
    """A `BytesHandler`: a coroutine function, or an asynchronous generator if responses are a stream."""
    json_handler: Any
    """The same for a request in JSON; its responses are messages too."""
    requests_stream: bool = False
    """Whether there may be several requests; the handler is called for each."""
    responses_stream: bool = False
    """Whether there may be several responses."""
    is_probe: bool = False
    """Whether it is answered even while calls are refused: health and reflection."""


Reader = Callable[[bytes], Awaitable[Message]]

_LONG_JSON_BYTES = 8192
"""From this length on JSON is read in a thread: small values take the event loop microseconds each."""

Table = Mapping[str, Method]
"""Methods by path."""


def make_table(
    services: Iterable[Service], layers: Sequence[Layer], *, max_response_bytes: int, long_reads: Executor | None = None
) -> dict[str, Method]:
    """Returns the methods of services.

    Args:
        services: The services.
        layers: What every call with a single response goes through, from the outermost in. Of what they raise, only
            `MuserveError` and cancellation may get out. None for probes.
        max_response_bytes: Size of the largest response. Larger ones end inside the layers, so that they are counted
            and explained; a front would refuse to send them after all is done.
        long_reads: Reads long requests in JSON: of one thread, so that they neither stop all else nor crowd it out.
            None takes the event loop's own.
    """
    methods = [
        _make_method(service, method, layers, max_response_bytes, long_reads)
        for service in services
        for method in service.descriptor.methods
        if method.name in service.handlers
    ]
    return {method.path: method for method in methods}


def _make_method(
    service: Service,
    descriptor: MethodDescriptor,
    layers: Sequence[Layer],
    max_response_bytes: int,
    long_reads: Executor | None,
) -> Method:
    message = message_factory.GetMessageClass(descriptor.input_type)

    async def from_bytes(data: bytes) -> Message:
        return message.FromString(data)

    async def from_json(data: bytes) -> Message:
        if len(data) < _LONG_JSON_BYTES:
            return read_json(data, message())
        return await asyncio.get_running_loop().run_in_executor(long_reads, read_json, data, message())

    return Method(
        path=f"/{service.name}/{descriptor.name}",
        handler=_on_bytes(service, descriptor, from_bytes, layers, max_response_bytes),
        json_handler=_on_bytes(service, descriptor, from_json, layers, max_response_bytes),
        requests_stream=descriptor.client_streaming,
        responses_stream=descriptor.server_streaming,
        is_probe=not layers,
    )


def _on_bytes(
    service: Service, descriptor: MethodDescriptor, read: Reader, layers: Sequence[Layer], max_response_bytes: int
) -> Any:
    handler: Any = service.handlers[descriptor.name]

    async def stream(data: bytes, call: CallContext) -> AsyncIterator[bytes]:
        async for response in handler(await _read(read, data, call), call):
            yield response.SerializeToString()

    async def single(data: bytes, call: CallContext) -> bytes:
        # Inside the layers, where a broken message or one that is too large is an error like any other.
        response = bytes((await handler(await _read(read, data, call), call)).SerializeToString())
        if len(response) > max_response_bytes:
            raise MessageTooLargeError(
                f"the answer has {len(response)} bytes; this server sends at most {max_response_bytes} (its setting "
                "max_message_mib): ask for less in one call"
            )
        return response

    return stream if descriptor.server_streaming else within(layers, single)


async def _read(read: Reader, data: bytes, call: CallContext) -> Message:
    try:
        return await read(data)
    except DecodeError as error:
        raise InvalidRequestError(f"the request is not a message of {call.method} ({error})") from error
