"""Puts the layers around every unary method of the typed API; the one place that touches gRPC's own context."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import grpc
from grpc import aio

from muserve.errors import STATUS_DETAILS_KEY, MuserveError, to_status
from muserve_server.interceptors.call import CallContext, Handler, Layer

__all__ = ["PipelineInterceptor"]

_REQUEST_ID_KEY = "x-request-id"
_MAX_REQUEST_ID = 128


class PipelineInterceptor(aio.ServerInterceptor):  # type: ignore[misc]
    """Wraps each method once, then reuses the wrapped one: an interceptor a layer would cost every call."""

    def __init__(self, prefix: str, layers: Sequence[Layer]) -> None:
        """Stores its parts.

        Args:
            prefix: Methods that start with it go through the layers: "/muserve.v1.".
            layers: From the outermost in. Of what they raise, only `MuserveError` and cancellation may get out.
        """
        self._prefix = prefix
        self._layers = layers
        self._wrapped: dict[str, grpc.RpcMethodHandler] = {}

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
        if handler is None or handler.unary_unary is None or not method.startswith(self._prefix):
            return handler
        wrapped = grpc.unary_unary_rpc_method_handler(
            _on_grpc(method, _compose(self._layers, handler.unary_unary)),
            handler.request_deserializer,
            handler.response_serializer,
        )
        self._wrapped[method] = wrapped
        return wrapped


def _compose(layers: Sequence[Layer], handler: Handler) -> Handler:
    for layer in reversed(layers):
        handler = _around(layer, handler)
    return handler


def _around(layer: Layer, proceed: Handler) -> Handler:
    async def handler(request: Any, call: CallContext) -> Any:
        return await layer(request, call, proceed)

    return handler


def _on_grpc(method: str, handler: Handler) -> Callable[[Any, Any], Awaitable[Any]]:
    async def unary(request: Any, context: Any) -> Any:
        request_id = _request_id(context.invocation_metadata())
        remaining = context.time_remaining()
        try:
            return await handler(request, CallContext(method, request_id, remaining))
        except MuserveError as error:
            details = to_status(error).SerializeToString()
            await context.abort(error.code, error.message, ((STATUS_DETAILS_KEY, details),))

    return unary


def _request_id(metadata: Sequence[tuple[str, str | bytes]]) -> str:
    for key, value in metadata:
        if key == _REQUEST_ID_KEY and isinstance(value, str) and value:
            return value[:_MAX_REQUEST_ID]
    return secrets.token_hex(8)
