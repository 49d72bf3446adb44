"""Puts the layers around every unary method of the typed API; the one place that touches gRPC's own context."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Awaitable, Callable, Collection, Iterator, Sequence
from typing import Any

import grpc
from google.protobuf.message import DecodeError
from grpc import aio

from muserve.errors import STATUS_DETAILS_KEY, InvalidRequestError, MessageTooLargeError, MuserveError, to_status
from muserve_server.interceptors.call import CallContext, Handler, Layer

__all__ = ["PipelineInterceptor"]

_REQUEST_ID_KEY = "x-request-id"
_MAX_REQUEST_ID = 128


class PipelineInterceptor(aio.ServerInterceptor):  # type: ignore[misc]
    """Wraps each method once, then reuses the wrapped one: an interceptor a layer would cost every call."""

    def __init__(self, services: Collection[str], layers: Sequence[Layer], *, max_response_bytes: int) -> None:
        """Stores its parts.

        Args:
            services: Full names of the services whose methods go through the layers: "muserve.v1.ImageService".
            layers: From the outermost in. Of what they raise, only `MuserveError` and cancellation may get out.
            max_response_bytes: Size of the largest answer. Larger ones end inside the layers, so that they are counted
                and explained; gRPC would refuse to send them after all is done.
        """
        self._services = frozenset(services)
        self._layers = layers
        self._max_response_bytes = max_response_bytes
        self._wrapped: dict[str, grpc.RpcMethodHandler] = {}
        self._request_ids = _request_ids()

    async def intercept_service(
        self,
        continuation: Callable[[grpc.HandlerCallDetails], Awaitable[grpc.RpcMethodHandler]],
        handler_call_details: grpc.HandlerCallDetails,
    ) -> grpc.RpcMethodHandler:
        """Returns the method's handler with the layers around it; see gRPC's documentation."""
        method = handler_call_details.method
        wrapped = self._wrapped.get(method)
        if wrapped is not None:
            return wrapped
        handler = await continuation(handler_call_details)
        if handler is None or handler.unary_unary is None or _service(method) not in self._services:
            return handler
        on_bytes = _on_bytes(handler, self._max_response_bytes)
        wrapped = grpc.unary_unary_rpc_method_handler(
            _on_grpc(method, _compose(self._layers, on_bytes), self._request_ids)
        )
        self._wrapped[method] = wrapped
        return wrapped


def _service(method: str) -> str:
    """Returns the service of a method: "muserve.v1.ImageService" of "/muserve.v1.ImageService/GenerateImages"."""
    return method.rpartition("/")[0].removeprefix("/")


def _compose(layers: Sequence[Layer], handler: Handler) -> Handler:
    for layer in reversed(layers):
        handler = _around(layer, handler)
    return handler


def _around(layer: Layer, proceed: Handler) -> Handler:
    async def handler(request: Any, call: CallContext) -> Any:
        return await layer(request, call, proceed)

    return handler


def _on_bytes(method: grpc.RpcMethodHandler, max_response_bytes: int) -> Handler:
    """Reads and writes messages inside the layers, where a broken or a too large one is an error like any other."""

    async def handler(data: bytes, call: CallContext) -> bytes:
        try:
            request = method.request_deserializer(data)
        except DecodeError as error:
            raise InvalidRequestError(f"the request is not a message of {call.method} ({error})") from error
        response = await method.unary_unary(request, call)
        answer: bytes = method.response_serializer(response)
        if len(answer) > max_response_bytes:
            raise MessageTooLargeError(
                f"the answer has {len(answer)} bytes; this server sends at most {max_response_bytes} (its setting "
                "max_message_mib): ask for less in one call"
            )
        return answer

    return handler


def _on_grpc(method: str, handler: Handler, request_ids: Iterator[str]) -> Callable[[Any, Any], Awaitable[Any]]:
    async def unary(request: Any, context: Any) -> Any:
        request_id = _given_id(context.invocation_metadata()) or next(request_ids)
        remaining = context.time_remaining()
        try:
            return await handler(request, CallContext(method, request_id, remaining))
        except MuserveError as error:
            details = to_status(error).SerializeToString()
            await context.abort(error.code, error.message, ((STATUS_DETAILS_KEY, details),))

    return unary


def _given_id(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    for key, value in metadata:
        if key == _REQUEST_ID_KEY and isinstance(value, str) and value:
            return value[:_MAX_REQUEST_ID]
    return ""


def _request_ids() -> Iterator[str]:
    """Yields ids that no other process draws: a system call a process, not one a call."""
    prefix = secrets.token_hex(6)
    return (f"{prefix}-{number}" for number in itertools.count(1))
