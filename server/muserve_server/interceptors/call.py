"""One call on its way through the layers: what they know of it, and what a layer is."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from muserve_server.model import CallStats

__all__ = ["CallContext", "Handler", "Layer", "within"]


@dataclass
class CallContext:
    """What is known of a call. Services get this instead of gRPC's own context."""

    method: str
    """Full name: "/muserve.v1.ImageService/GenerateImages"."""
    request_id: str
    """The caller's x-request-id, or one drawn here."""
    time_remaining_s: float | None
    """Seconds until the caller's deadline; None if the caller set none."""
    deadline: float = float("inf")
    """On the clock of `time.monotonic`; set by the deadline layer."""
    model: str = ""
    """Name of the model, once it is found."""
    version: str = ""
    """Its version."""
    stats: CallStats = field(default_factory=CallStats)
    """Where the time went."""


Handler = Callable[[Any, CallContext], Awaitable[Any]]
"""Turns a request message into a response message."""

Layer = Callable[[Any, CallContext, Handler], Awaitable[Any]]
"""Does something before, after or instead of the handler that it is given."""


def within(layers: Sequence[Layer], handler: Handler) -> Handler:
    """Puts layers around a handler, the first one outermost."""
    for layer in reversed(layers):
        handler = _around(layer, handler)
    return handler


def _around(layer: Layer, proceed: Handler) -> Handler:
    async def handler(request: Any, call: CallContext) -> Any:
        return await layer(request, call, proceed)

    return handler
