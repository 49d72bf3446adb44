"""Any mix of requests in front of the batcher: property-based."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from muserve.errors import DeadlineExceededError
from muserve_server.engine import Batcher, BatcherOptions, EngineError
from tests.server.engine.engines import GatedEngine, rows
from tests.server.waiting import until

requests = st.lists(
    st.tuples(
        st.integers(1, 20),  # rows
        st.integers(1, 3),  # bucket
        st.sampled_from(["good"] * 6 + ["steps"] * 2 + ["bad", "cancelled", "expired"]),
    ),
    min_size=1,
    max_size=25,
)


def three_steps() -> Callable[[Any], Any]:
    """A step that goes on twice, each time with a thousand more, so that no other request has such a row."""
    left = [1, 1]
    return lambda outputs: {"x": outputs["y"] + 1000 * left.pop()} if left else None


@given(requests=requests, max_batch_rows=st.integers(1, 16), engine_count=st.integers(1, 3))
@settings(max_examples=80)
def test_any_mix_of_requests(requests: list[tuple[int, int, str]], max_batch_rows: int, engine_count: int) -> None:
    engines = [GatedEngine(is_open=False) for _ in range(engine_count)]

    async def run() -> list[Any]:
        batcher = Batcher(engines, BatcherOptions(max_batch_rows, max_queue_rows=10_000))
        batcher.start()
        blockers = []
        for index in range(engine_count):  # every engine is busy while the requests come
            blockers.append(asyncio.create_task(batcher.infer(rows(*[0] * max_batch_rows, width=9))))
            await until(lambda wanted=index: sum(len(engine.batches) for engine in engines) == wanted + 1)  # type: ignore[misc]
        tasks = []
        for number, (count, width, kind) in enumerate(requests, start=1):
            values = (
                -rows(*[number] * count, width=width)["x"]
                if kind == "bad"
                else rows(*[number] * count, width=width)["x"]
            )
            deadline = time.monotonic() if kind == "expired" else None
            step = three_steps() if kind == "steps" else None
            tasks.append(asyncio.create_task(batcher.infer({"x": values}, deadline=deadline, step=step)))
        await until(lambda: batcher.queued_rows == sum(count for count, _, _ in requests))
        for task, (_, _, kind) in zip(tasks, requests, strict=True):
            if kind == "cancelled":
                task.cancel()
        await asyncio.sleep(0)
        for engine in engines:
            engine.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*blockers)
        assert batcher.queued_rows == 0
        await batcher.close()
        return results

    results = asyncio.run(run())
    for number, (result, (count, width, kind)) in enumerate(zip(results, requests, strict=True), start=1):
        if kind == "good":
            assert np.array_equal(result["y"], np.full((count, width), 2 * number, np.float32))
        elif kind == "steps":
            assert np.array_equal(result["y"], np.full((count, width), 2 * (2 * (2 * number + 1000) + 1000)))
        else:
            wanted = {"bad": EngineError, "cancelled": asyncio.CancelledError, "expired": DeadlineExceededError}[kind]
            assert isinstance(result, wanted)
    dropped = {number for number, (_, _, kind) in enumerate(requests, start=1) if kind in ("cancelled", "expired")}
    for engine in engines:
        for batch in engine.batches:
            assert len(batch) <= max_batch_rows
            assert not dropped & set(np.abs(batch[:, 0]).astype(int))
    if engine_count == 1 and all(kind not in ("bad", "steps") for _, _, kind in requests):
        for width in (1, 2, 3):
            order = [int(v) for batch in engines[0].batches if batch.shape[1] == width for v in batch[:, 0]]
            assert order == sorted(order)  # first come, first served within a bucket
