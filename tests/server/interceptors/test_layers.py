"""Layers alone, where a race on the wire could hide what they do."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import pytest

from muserve.errors import DeadlineExceededError, QueueFullError
from muserve_server.interceptors import CallContext, deadline_layer, limit_layer, telemetry_layer
from muserve_server.telemetry import Metrics


def call(deadline: float = float("inf")) -> CallContext:
    return CallContext("/muserve.v1.X/Y", "id", None, deadline=deadline)


@pytest.mark.parametrize(("left_s", "code"), [(30.0, "CANCELLED"), (-0.001, "DEADLINE_EXCEEDED")])
async def test_a_cancel_at_the_deadline_is_counted_as_the_deadline(left_s: float, code: str) -> None:
    async def cancelled(*_: Any) -> None:
        raise asyncio.CancelledError

    metrics = Metrics()
    with pytest.raises(asyncio.CancelledError):
        await telemetry_layer(metrics)(None, call(time.monotonic() + left_s), cancelled)
    labels = {"method": "/muserve.v1.X/Y", "model": "", "version": "", "code": code}
    assert metrics.registry.get_sample_value("muserve_request_seconds_count", labels) == 1
    assert metrics.registry.get_sample_value("muserve_calls_in_progress") == 0


async def test_the_deadline_layer_sets_the_deadline_and_keeps_to_it() -> None:
    context = call()

    async def forever(*_: Any) -> None:
        await asyncio.Event().wait()

    before = time.monotonic()
    with pytest.raises(DeadlineExceededError):
        await deadline_layer(0.01)(None, context, forever)
    assert before + 0.01 <= context.deadline <= time.monotonic()


async def test_a_place_is_given_back_however_the_call_ends() -> None:
    layer = limit_layer(1)

    async def nested(*_: Any) -> None:
        with pytest.raises(QueueFullError):
            await layer(None, call(), nested)
        raise KeyError

    for _ in range(3):
        with pytest.raises(KeyError):
            await layer(None, call(), nested)
