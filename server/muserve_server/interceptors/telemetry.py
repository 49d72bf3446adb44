"""Counts and logs every call, however it ends."""

from __future__ import annotations

import asyncio
import logging
import time
from typing import Any

from muserve.errors import MuserveError
from muserve_server.interceptors.call import CallContext, Handler, Layer
from muserve_server.telemetry import Metrics

__all__ = ["telemetry_layer"]

logger = logging.getLogger(__name__)

_CLOCK_SLACK_S = 0.01


def telemetry_layer(metrics: Metrics) -> Layer:
    """Returns a layer that counts calls by method, model, version and code, and logs each at level debug."""

    async def layer(request: Any, call: CallContext, proceed: Handler) -> Any:
        started = time.monotonic()
        metrics.calls.inc()
        code = "INTERNAL"
        try:
            response = await proceed(request, call)
            code = "OK"
            return response
        except MuserveError as error:
            code = error.code.name
            raise
        except asyncio.CancelledError:
            # At the deadline the caller cancels too, and may be a little faster than the deadline layer.
            code = "CANCELLED" if time.monotonic() < call.deadline - _CLOCK_SLACK_S else "DEADLINE_EXCEEDED"
            raise
        finally:
            seconds = time.monotonic() - started
            metrics.calls.dec()
            metrics.observe_call(call.method, call.model, call.version, code, seconds, call.stats)
            if logger.isEnabledFor(logging.DEBUG):
                logger.debug("call", extra=_fields(call, code, seconds))

    return layer


def _fields(call: CallContext, code: str, seconds: float) -> dict[str, Any]:
    stats = call.stats
    return {
        "request_id": call.request_id,
        "method": call.method,
        "model": call.model,
        "version": call.version,
        "code": code,
        "seconds": round(seconds, 6),
        "queue_s": round(stats.queue_s, 6),
        "compute_s": round(stats.compute_s, 6),
        "encode_s": round(stats.encode_s, 6),
        "batch_rows": stats.batch_rows,
    }
