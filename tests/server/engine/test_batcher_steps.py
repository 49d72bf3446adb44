"""Requests that go on step by step inside the batcher."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from muserve.errors import DeadlineExceededError, UnavailableError
from muserve_server.engine import EngineError, RunStats
from tests.server.engine.engines import GatedEngine, TurnedClock, let_others_go_on, occupy, rows, started
from tests.server.waiting import until


def until_above(most: float) -> Callable[[Any], Any]:
    """A step that goes on with the outputs until they are above a number."""
    return lambda outputs: None if outputs["y"].max() > most else {"x": outputs["y"]}


async def test_steps_go_on_in_company_until_they_end() -> None:
    engine = GatedEngine(is_open=False)
    batcher = await started(engine)
    first = await occupy(batcher, engine)
    stats = RunStats()
    tasks = [
        asyncio.create_task(batcher.infer(rows(1, 2), step=until_above(10), stats=stats)),
        asyncio.create_task(batcher.infer(rows(5), step=until_above(30))),
    ]
    await until(lambda: batcher.queued_rows == 3)
    engine.gate.set()
    await first
    assert [result["y"][:, 0].tolist() for result in await asyncio.gather(*tasks)] == [[8, 16], [40]]
    assert engine.sizes() == [1, 3, 3, 3]
    assert stats.batch_rows == 3
    assert batcher.queued_rows == 0
    await batcher.close()


async def test_a_step_may_bring_fewer_rows_and_its_fault_is_its_own() -> None:
    engine = GatedEngine()
    batcher = await started(engine)

    def fewer(outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
        return {"x": outputs["y"][:-1]} if len(outputs["y"]) > 1 else None

    async def fails(error: Exception) -> Any:
        def wrong(_: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
            raise error

        first = await occupy(batcher, engine)
        guilty = asyncio.create_task(batcher.infer(rows(1), step=wrong))
        neighbour = asyncio.create_task(batcher.infer(rows(2)))
        await until(lambda: batcher.queued_rows == 2)
        engine.gate.set()
        await first
        assert (await neighbour)["y"].tolist() == [[4]]
        return (await asyncio.gather(guilty, return_exceptions=True))[0]

    assert (await batcher.infer(rows(1, 2, 3), step=fewer))["y"].tolist() == [[8]]
    for error, wanted in ((ValueError("no numbers"), ValueError), (StopIteration(), RuntimeError)):
        engine.gate.clear()
        engine.batches.clear()
        assert isinstance(await fails(error), wanted)
    with pytest.raises(ValueError, match="must have the same number of rows"):
        await batcher.infer(rows(1), step=lambda _: {"x": np.zeros((0, 1), np.float32)})
    with pytest.raises(EngineError, match="negative"):
        await batcher.infer(rows(1), step=lambda outputs: {"x": -outputs["y"]})
    assert (await batcher.infer(rows(4)))["y"].tolist() == [[8]]
    await batcher.close()


@pytest.mark.parametrize("how", ["cancelled", "expired", "closed"])
async def test_steps_that_nobody_waits_for_stop(how: str) -> None:
    engine = GatedEngine()
    clock = TurnedClock()
    batcher = await started(engine, clock)
    steps = 0

    def forever(outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        nonlocal steps
        steps += 1
        return {"x": outputs["y"] * 0}

    task = asyncio.create_task(batcher.infer(rows(1), deadline=clock.now_s() + 1, step=forever))
    await until(lambda: steps > 3)
    if how == "expired":
        clock.turn(1)
    if how == "cancelled":
        task.cancel()
    if how == "closed":
        await batcher.close()
    wanted = {"cancelled": asyncio.CancelledError, "expired": DeadlineExceededError, "closed": UnavailableError}[how]
    with pytest.raises(wanted):
        await task
    await until(lambda: batcher.queued_rows == 0)
    done = steps
    await let_others_go_on()
    assert steps <= done + 1  # one may have been running
    await batcher.close()
