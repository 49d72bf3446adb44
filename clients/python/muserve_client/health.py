"""grpc.health.v1.Check with its two messages of one field written by hand: a package for them would be one too many."""

from __future__ import annotations

import time
from collections.abc import Iterator

from muserve.errors import DeadlineExceededError, ModelNotFoundError, MuserveError, UnavailableError
from muserve_client.core import Method, Rpc, checked_timeout
from muserve_client.options import Retries

__all__ = ["NOT_READY", "health_rpc", "never_ready", "waits"]

NOT_READY: tuple[type[MuserveError], ...] = (UnavailableError, DeadlineExceededError, ModelNotFoundError)
"""Failures of a health check that mean no more than "not ready": health says NOT_FOUND for a name it doesn't know."""

_LONGEST_CHECK_S = 5.0
_BACKOFF = Retries(max_backoff_s=1.0)
_SERVING = b"\x08\x01"  # HealthCheckResponse: field 1, varint, SERVING


def _serialize(service: str) -> bytes:
    name = service.encode()
    return b"\x0a" + _varint(len(name)) + name if name else b""  # HealthCheckRequest: field 1, text


def _varint(number: int) -> bytes:
    out = bytearray()
    while number > 0x7F:
        out.append(number & 0x7F | 0x80)
        number >>= 7
    out.append(number)
    return bytes(out)


_CHECK = Method("/grpc.health.v1.Health/Check", _serialize, bytes)


def health_rpc(model: str) -> Rpc[bool]:
    """Returns the call that asks whether a model, or with "" the server as a whole, takes calls."""
    return Rpc(_CHECK, f"models/{model}" if model else "", lambda response: response == _SERVING)


def never_ready(target: str, model: str, timeout_s: float) -> DeadlineExceededError:
    """Returns the error for a wait that was in vain."""
    what = f"model {model!r} at {target}" if model else target
    return DeadlineExceededError(f"{what} was not ready within {timeout_s:g} s; the server's log says why")


def waits(timeout_s: float) -> Iterator[tuple[float, float]]:
    """Divides a wait into checks: yields the next one's timeout and the pause after it, until the time is over."""
    deadline, attempt = time.monotonic() + checked_timeout(timeout_s), 0
    while (remaining := deadline - time.monotonic()) > 0:
        attempt += 1
        yield min(_LONGEST_CHECK_S, remaining), min(_BACKOFF.backoff_s(attempt, 0.0), remaining)
