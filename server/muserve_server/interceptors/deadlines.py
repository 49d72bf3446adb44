"""Gives every call a deadline and ends it there."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from muserve.errors import DeadlineExceededError
from muserve_server.interceptors.call import CallContext, Handler, Layer

__all__ = ["deadline_layer"]


def deadline_layer(default_s: float) -> Layer:
    """Returns a layer that ends calls at the caller's deadline or, if there is none, after the default.

    Args:
        default_s: Deadline in seconds of calls that bring none.
    """

    async def layer(request: Any, call: CallContext, proceed: Handler) -> Any:
        seconds = default_s if call.time_remaining_s is None else call.time_remaining_s
        call.deadline = time.monotonic() + seconds
        try:
            async with asyncio.timeout(seconds) as scope:
                return await proceed(request, call)
        except TimeoutError as error:
            if not scope.expired():
                raise  # something else's timeout, not the call's
            raise DeadlineExceededError(f"the call was not done within its {seconds:.3g} s") from error

    return layer
