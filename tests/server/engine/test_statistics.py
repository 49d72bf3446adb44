"""What a batcher counts, in front of an engine whose timing a test controls."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from muserve.errors import DeadlineExceededError, QueueFullError
from muserve_server.engine import EngineError
from muserve_server.rows import Rows
from tests.server.engine.engines import GatedEngine, TurnedClock, occupy, rows, started
from tests.server.waiting import until


async def test_requests_rows_and_runs_are_counted() -> None:
    engine = GatedEngine(is_open=False)
    clock = TurnedClock()
    batcher = await started(engine, clock, max_batch_rows=4)
    began = time.time()
    first = await occupy(batcher, engine)
    others = [asyncio.create_task(batcher.infer(rows(*range(count)))) for count in (1, 2, 4)]
    await until(lambda: batcher.queued_rows == 7)
    clock.turn(0.5)
    assert batcher.stats.succeeded.count == batcher.stats.shares.count == 0
    engine.gate.set()
    await asyncio.gather(first, *others)
    stats = batcher.stats
    assert engine.sizes() == [1, 4, 3]
    assert {size: tally.count for size, tally in stats.runs.items()} == {1: 1, 4: 1, 3: 1}
    assert (stats.succeeded.count, stats.succeeded.seconds) == (4, 4 * 0.5)
    assert (stats.waits.count, stats.waits.seconds) == (4, 3 * 0.5)  # the largest was split, and waited once
    assert stats.shares.count == 5
    assert stats.failed.count == 0
    assert began <= stats.last_run_at_s <= time.time()
    await batcher.close()


async def test_each_step_of_a_request_waits_and_the_request_counts_once() -> None:
    engine = GatedEngine()
    batcher = await started(engine)
    left = [2]

    def step(outputs: Rows) -> Rows | None:
        left[0] -= 1
        return {"x": outputs["y"]} if left[0] >= 0 else None

    await batcher.infer(rows(1, 2), step=step)
    stats = batcher.stats
    assert (stats.succeeded.count, stats.waits.count, stats.shares.count) == (1, 3, 3)
    assert {size: tally.count for size, tally in stats.runs.items()} == {2: 3}
    await batcher.close()


async def test_requests_that_fail_are_counted_as_such() -> None:
    engine = GatedEngine(is_open=False)
    batcher = await started(engine, max_queue_rows=4)
    first = await occupy(batcher, engine)
    cancelled = asyncio.create_task(batcher.infer(rows(1)))
    late = asyncio.create_task(batcher.infer(rows(2), deadline=0.0))
    bad = asyncio.create_task(batcher.infer(rows(-1)))
    await until(lambda: batcher.queued_rows == 3)
    with pytest.raises(QueueFullError):
        await batcher.infer(rows(*range(9)))
    cancelled.cancel()
    engine.gate.set()
    ends = await asyncio.gather(first, cancelled, late, bad, return_exceptions=True)
    assert [type(end) for end in ends] == [dict, asyncio.CancelledError, DeadlineExceededError, EngineError]
    stats = batcher.stats
    assert (stats.succeeded.count, stats.failed.count) == (1, 4)
    assert {size: tally.count for size, tally in stats.runs.items()} == {1: 1}  # not the run that failed
    assert stats.shares.count == 1
    await batcher.close()


async def test_rows_share_a_run_whatever_the_order_of_their_tensors() -> None:
    class Sum(GatedEngine):
        def run(self, inputs: Rows) -> dict[str, NDArray[Any]]:
            super().run({"x": inputs["x"]})
            return {"y": inputs["x"] + inputs["z"]}

    engine = Sum(is_open=False)
    batcher = await started(engine)
    one, two = np.array([[1.0]]), np.array([[2.0]])
    first = asyncio.create_task(batcher.infer({"x": one, "z": one}))
    await until(lambda: engine.batches)
    others = [batcher.infer({"x": one, "z": two}), batcher.infer({"z": one, "x": two * 2})]
    tasks = [asyncio.ensure_future(other) for other in others]
    await until(lambda: batcher.queued_rows == 2)
    engine.gate.set()
    sums = [outputs["y"].item() for outputs in await asyncio.gather(first, *tasks)]
    assert sums == [2, 3, 5]
    assert engine.sizes() == [1, 2]
    await batcher.close()
