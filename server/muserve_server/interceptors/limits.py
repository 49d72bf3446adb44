"""Bounds how many calls are in the server at a time."""

from __future__ import annotations

from typing import Any

from muserve.errors import QueueFullError
from muserve_server.interceptors.call import CallContext, Handler, Layer

__all__ = ["limit_layer"]

_RETRY_AFTER_S = 0.5


def limit_layer(max_calls: int) -> Layer:
    """Returns a layer that refuses calls beyond a number of running ones. Health and reflection do not count."""
    running = 0

    async def layer(request: Any, call: CallContext, proceed: Handler) -> Any:
        nonlocal running
        if running >= max_calls:
            text = f"{running} calls are in the server, which is all that its max_concurrent_calls allows; try again"
            raise QueueFullError(text, retry_after_s=_RETRY_AFTER_S)
        running += 1
        try:
            return await proceed(request, call)
        finally:
            running -= 1

    return layer
