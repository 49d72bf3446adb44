"""One run of an engine: the rows that requests put into it, and what came of them."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from numpy.typing import NDArray

from muserve_server.engine.engine import Engine, EngineError
from muserve_server.rows import Rows, Step, concatenate, slice_rows

__all__ = ["Bucket", "Entry", "Run", "RunStats", "Slice", "run_batch"]

Bucket = frozenset[tuple[str, int, tuple[int, ...]]]
"""Names, types and shapes past the first dimension of tensors, in any order: rows of one bucket fit together."""


@dataclass
class RunStats:
    """What becomes of one request's rows. Filled in as they run, so that a request that fails has its share too."""

    queue_s: float = 0.0
    """From arrival to the start of the first run, or to the end of the wait for it; of each step, added up."""
    compute_s: float = 0.0
    """Sum over the runs that held its rows."""
    batch_rows: int = 0
    """Rows of the largest of these runs."""


@dataclass(eq=False)
class Entry:
    """One request's rows, waiting, running or done."""

    rows: Rows
    count: int
    deadline: float | None
    stats: RunStats
    step: Step | None
    future: asyncio.Future[dict[str, NDArray[Any]]]
    bucket: Bucket = field(init=False)
    arrived: float = field(init=False)
    taken: int = 0
    done: int = 0
    parts: dict[int, Rows] = field(default_factory=dict)


@dataclass(frozen=True)
class Slice:
    """The rows of one entry that go into one run."""

    entry: Entry
    start: int
    stop: int

    @property
    def count(self) -> int:
        """Number of rows."""
        return self.stop - self.start

    def rows(self) -> Rows:
        """Returns the rows themselves."""
        return slice_rows(self.entry.rows, self.start, self.stop, count=self.entry.count)


@dataclass(frozen=True)
class Run:
    """One run of an engine, and what came of it."""

    parts: Sequence[Slice]
    rows: int
    seconds: float
    outputs: Rows | EngineError


def run_batch(engine: Engine, batch: Sequence[Slice]) -> list[Run]:
    """Runs a batch in the engine's thread; if it fails, each of its slices that is still waited for, alone."""
    together = _run_once(engine, batch)
    if len(batch) == 1 or not isinstance(together.outputs, EngineError):
        return [together]
    return [together, *(_run_once(engine, [part]) for part in batch if not part.entry.future.done())]


def _run_once(engine: Engine, parts: Sequence[Slice]) -> Run:
    started = time.monotonic()
    rows = sum(part.count for part in parts)
    outputs: Rows | EngineError
    try:
        outputs = engine.run(concatenate([part.rows() for part in parts]))
        if any(tensor.shape[:1] != (rows,) for tensor in outputs.values()):
            shapes = {name: tensor.shape for name, tensor in outputs.items()}
            outputs = EngineError(f"{rows} rows went in, but the outputs have the shapes {shapes}")
    except EngineError as error:
        outputs = error
    except Exception as error:  # noqa: BLE001 - an engine that breaks its promise fails its rows, not the worker
        outputs = EngineError(repr(error))
    return Run(parts, rows, time.monotonic() - started, outputs)
