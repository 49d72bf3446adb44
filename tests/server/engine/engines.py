"""Engines and a clock whose timing a test controls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve_server.engine import Batcher, BatcherOptions, EngineError
from muserve_server.engine.clock import Clock
from tests.server.waiting import WAIT_S, until

__all__ = ["GatedEngine", "TurnedClock", "let_others_go_on", "occupy", "rows", "started"]


class GatedEngine:
    """Doubles its rows. Runs only while its gate is open, fails on negative values, keeps the batches that it saw."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[NDArray[Any]] = []
        self.gate = threading.Event()
        self.closings = 0
        if is_open:
            self.gate.set()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        rows = inputs["x"]
        self.batches.append(rows.copy())
        assert self.gate.wait(WAIT_S)
        if (rows < 0).any():
            raise EngineError("negative")
        return {"y": rows * 2}

    def close(self) -> None:
        self.closings += 1

    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


class TurnedClock(Clock):
    """Stands still until a test turns it."""

    def __init__(self) -> None:
        self.waits: list[float] = []
        """How long each wait was to last at most."""
        self._now_s = 100.0

    def now_s(self) -> float:
        return self._now_s

    def turn(self, seconds: float) -> None:
        self._now_s += seconds

    async def wait(self, event: asyncio.Event, timeout_s: float) -> None:
        end_s = self._now_s + timeout_s
        self.waits.append(timeout_s)
        await until(lambda: event.is_set() or self._now_s >= end_s)


def rows(*values: float, width: int = 1) -> dict[str, NDArray[np.float32]]:
    return {"x": np.repeat(np.array(values, np.float32)[:, None], width, axis=1)}


async def started(engine: GatedEngine, clock: Clock | None = None, **options: Any) -> Batcher:
    batcher = Batcher([engine], BatcherOptions(**options), clock=clock)
    batcher.start()
    return batcher


async def occupy(batcher: Batcher, engine: GatedEngine) -> asyncio.Task[Any]:
    """Puts a row into the engine, which then holds everything else up until its gate opens."""
    task = asyncio.create_task(batcher.infer(rows(0)))
    await until(lambda: engine.batches)
    return task


async def let_others_go_on() -> None:
    for _ in range(50):
        await asyncio.sleep(0)
