"""Gathers rows of many requests into batches for one graph. Knows neither gRPC nor ONNX.

Work-conserving: an idle engine starts at once with what waits; while it is busy, rows gather. First come, first served
within what fits together: rows share a batch when their tensors agree in name, type and shape past the first dimension.
A request larger than a batch spans several. When a batch of several requests fails, each is run alone, so that only the
guilty one fails. Rows that nobody waits for any more are dropped when a batch is formed.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.errors import DeadlineExceededError, QueueFullError, UnavailableError
from muserve_server.engine.engine import Engine, EngineError

__all__ = ["Batcher", "BatcherOptions", "RunStats"]

Rows = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class BatcherOptions:
    """How rows are gathered."""

    max_batch_rows: int = 64
    """Most rows in one run."""
    max_queue_rows: int = 1024
    """Most rows that may wait; beyond it, new requests are refused at once."""
    max_delay_s: float = 0.0
    """How long an idle engine waits for a fuller batch."""


@dataclass(frozen=True)
class RunStats:
    """What became of one request's rows."""

    queue_s: float
    """From arrival to the start of the first run."""
    compute_s: float
    """Sum over the runs that held its rows."""
    batch_rows: int
    """Rows of the largest of these runs."""


@dataclass(eq=False)
class _Entry:
    """One request's rows, waiting, running or done."""

    rows: Rows
    count: int
    bucket: tuple[Any, ...]
    deadline: float | None
    arrived: float
    future: asyncio.Future[dict[str, NDArray[Any]]]
    taken: int = 0
    done: int = 0
    parts: dict[int, Rows] = field(default_factory=dict)
    queue_s: float = 0.0
    compute_s: float = 0.0
    batch_rows: int = 0


@dataclass(frozen=True)
class _Slice:
    """The rows of one entry that go into one run."""

    entry: _Entry
    start: int
    stop: int

    def rows(self) -> Rows:
        if self.stop - self.start == self.entry.count:
            return self.entry.rows
        return {name: tensor[self.start : self.stop] for name, tensor in self.entry.rows.items()}


class Batcher:
    """Batches the rows of one graph over one or more engines of it. Lives on one event loop."""

    def __init__(
        self,
        engines: Sequence[Engine],
        options: BatcherOptions,
        *,
        on_run: Callable[[int, float], None] = lambda _rows, _seconds: None,
    ) -> None:
        """Stores its parts; `start` begins the work.

        Args:
            engines: Each runs one batch at a time, in a thread of its own.
            options: Sizes and delay.
            on_run: Called on the event loop after each run with its rows and seconds.
        """
        self._engines = engines
        self._options = options
        self._on_run = on_run
        self._threads = ThreadPoolExecutor(len(engines), thread_name_prefix="engine")
        self._queue: deque[_Entry] = deque()
        self._queued_rows = 0
        self._arrived = asyncio.Event()
        self._workers: list[asyncio.Task[None]] = []
        self._row_s = 0.0
        self._closed = False

    @property
    def queued_rows(self) -> int:
        """Rows that wait for a run."""
        return self._queued_rows

    def start(self) -> None:
        """Starts one worker an engine on the running loop."""
        self._workers = [asyncio.create_task(self._work(engine)) for engine in self._engines]

    async def infer(
        self, rows: Rows, *, deadline: float | None = None, admitted: bool = False
    ) -> tuple[dict[str, NDArray[Any]], RunStats]:
        """Runs rows and returns their outputs.

        Args:
            rows: Every input of the graph, [row, ...], at least one row.
            deadline: On the clock of `time.monotonic`; later than that nobody waits.
            admitted: True for later steps of a request whose first step was let in: these are never refused.

        Returns:
            Every output, [row, ...], and what became of the rows.

        Raises:
            QueueFullError: No room for the rows; says when to try again.
            DeadlineExceededError: The deadline passed while the rows waited.
            EngineError: The graph failed on these rows.
            UnavailableError: The batcher was closed.
        """
        entry = self._enter(rows, deadline, admitted=admitted)
        try:
            outputs = await entry.future
        finally:
            self._queued_rows -= entry.count - entry.taken  # cancelled or failed: what is left will not run
            entry.taken = entry.count
        return outputs, RunStats(entry.queue_s, entry.compute_s, entry.batch_rows)

    async def close(self) -> None:
        """Fails what waits, lets running batches end, closes the engines."""
        self._closed = True
        for worker in self._workers:
            worker.cancel()
        await asyncio.gather(*self._workers, return_exceptions=True)
        for entry in self._queue:
            if not entry.future.done():
                entry.future.set_exception(UnavailableError("the model was unloaded; try again"))
        self._queue.clear()
        await asyncio.to_thread(self._threads.shutdown)
        for engine in self._engines:
            engine.close()

    def _enter(self, rows: Rows, deadline: float | None, *, admitted: bool) -> _Entry:
        if self._closed:
            raise UnavailableError("the model was unloaded; try again")
        count = next(iter(rows.values())).shape[0]
        if not admitted and self._queued_rows + count > self._options.max_queue_rows:
            raise QueueFullError(
                f"{self._queued_rows} rows wait and {count} more came; the queue holds {self._options.max_queue_rows}",
                retry_after_s=min(max(self._queued_rows * self._row_s, 0.05), 5.0),
            )
        bucket = tuple((name, tensor.dtype.num, tensor.shape[1:]) for name, tensor in rows.items())
        future = asyncio.get_running_loop().create_future()
        entry = _Entry(rows, count, bucket, deadline, time.monotonic(), future)
        self._queue.append(entry)
        self._queued_rows += count
        self._arrived.set()
        return entry

    async def _work(self, engine: Engine) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while not self._queue:
                self._arrived.clear()
                await self._arrived.wait()
            if self._options.max_delay_s:
                await self._wait_for_more()
            batch = self._take()
            if not batch:
                continue
            running = loop.run_in_executor(self._threads, _run, engine, batch)
            try:
                results, seconds = await asyncio.shield(running)
            except asyncio.CancelledError:
                self._settle(batch, *await running)  # closing: what runs is still answered
                raise
            self._settle(batch, results, seconds)

    async def _wait_for_more(self) -> None:
        until = self._queue[0].arrived + self._options.max_delay_s
        while self._queue and self._queued_rows < self._options.max_batch_rows:
            remaining = until - time.monotonic()
            if remaining <= 0:
                return
            self._arrived.clear()
            try:
                await asyncio.wait_for(self._arrived.wait(), remaining)
            except TimeoutError:
                return

    def _take(self) -> list[_Slice]:
        """Forms the next batch from the oldest entry and those that fit with it; drops what nobody waits for."""
        now = time.monotonic()
        batch: list[_Slice] = []
        room = self._options.max_batch_rows
        kept: list[_Entry] = []
        while self._queue and room:
            entry = self._queue.popleft()
            if entry.future.done():
                continue
            if entry.deadline is not None and entry.deadline <= now:
                entry.future.set_exception(DeadlineExceededError("the deadline passed while the request was queued"))
                continue
            if batch and entry.bucket != batch[0].entry.bucket:
                kept.append(entry)
                continue
            if not entry.taken:
                entry.queue_s = now - entry.arrived
            stop = min(entry.count, entry.taken + room)
            batch.append(_Slice(entry, entry.taken, stop))
            room -= stop - entry.taken
            self._queued_rows -= stop - entry.taken
            entry.taken = stop
            if stop < entry.count:
                kept.insert(0, entry)
        self._queue.extendleft(reversed(kept))
        return batch

    def _settle(self, batch: Sequence[_Slice], results: Sequence[Rows | EngineError], seconds: float) -> None:
        rows = sum(part.stop - part.start for part in batch)
        self._row_s = seconds / rows
        self._on_run(rows, seconds)
        for part, result in zip(batch, results, strict=True):
            entry = part.entry
            entry.compute_s += seconds
            entry.batch_rows = max(entry.batch_rows, rows)
            if entry.future.done():
                continue
            if isinstance(result, EngineError):
                entry.future.set_exception(result)
                continue
            entry.parts[part.start] = result
            entry.done += part.stop - part.start
            if entry.done == entry.count:
                entry.future.set_result(_join([entry.parts[start] for start in sorted(entry.parts)]))


def _run(engine: Engine, batch: Sequence[_Slice]) -> tuple[list[Rows | EngineError], float]:
    """Runs a batch in the engine's thread; if it fails, each of its slices alone."""
    started = time.monotonic()
    results: list[Rows | EngineError] = []
    try:
        outputs = engine.run(_join([part.rows() for part in batch]))
        rows = sum(part.stop - part.start for part in batch)
        if any(tensor.shape[:1] != (rows,) for tensor in outputs.values()):
            shapes = {name: tensor.shape for name, tensor in outputs.items()}
            raise EngineError(f"{rows} rows went in, but the outputs have the shapes {shapes}")
        position = 0
        for part in batch:
            end = position + part.stop - part.start
            results.append({name: tensor[position:end] for name, tensor in outputs.items()})
            position = end
    except Exception as error:  # noqa: BLE001 - whatever it is, the worker must go on with the next batch
        if len(batch) > 1:
            results = [_run(engine, [part])[0][0] for part in batch]
        else:
            results = [error if isinstance(error, EngineError) else EngineError(repr(error))]
    return results, time.monotonic() - started


def _join(parts: Sequence[Rows]) -> dict[str, NDArray[Any]]:
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
