"""How fronts make the context of a call from what its caller sent along."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Callable

from muserve_server.interceptors import CallContext

__all__ = ["REQUEST_ID_KEY", "call_contexts"]

REQUEST_ID_KEY = "x-request-id"
_MAX_REQUEST_ID = 128


def call_contexts() -> Callable[[str, str, float | None], CallContext]:
    """Returns what makes a call's context of its method, the caller's request id ("" draws one) and its seconds."""
    prefix = secrets.token_hex(6)  # no other process draws it: a system call a process, not one a call
    numbers = itertools.count(1)

    def context(method: str, request_id: str, time_remaining_s: float | None) -> CallContext:
        return CallContext(method, request_id[:_MAX_REQUEST_ID] or f"{prefix}-{next(numbers)}", time_remaining_s)

    return context
