"""Gathers rows of many requests into batches for one graph. Knows neither gRPC nor ONNX.

An idle engine starts at once with what waits, unless many requests come in quick succession: then it waits a little,
because a run of one row costs nearly as much as one of many. While it is busy, rows gather; of several engines another
one begins beside it with what would gain nothing by waiting. First come, first served within what fits together: rows
share a batch when their tensors agree in name, type and shape past the first dimension. A request larger than a batch
spans several. When a batch of several requests fails, each is run alone, so that only the guilty one fails. Rows that
nobody waits for any more are dropped when a batch is formed. A request that goes on step by step hands in what makes
its next rows of the last outputs, and is not woken in between.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections import Counter, deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from numpy.typing import NDArray

from muserve.errors import DeadlineExceededError, QueueFullError, UnavailableError
from muserve_server.engine.clock import Clock
from muserve_server.engine.engine import Engine, EngineError
from muserve_server.engine.runs import Bucket, Entry, Run, RunStats, Slice, run_batch
from muserve_server.engine.statistics import BatcherStats
from muserve_server.rows import Rows, Step, concatenate, count_rows, slice_rows

__all__ = ["Batcher", "BatcherOptions"]

logger = logging.getLogger(__name__)

_PAUSES_PER_DELAY = 4


@dataclass(frozen=True)
class BatcherOptions:
    """How rows are gathered."""

    max_batch_rows: int = 64
    """Maximum rows in one run."""
    max_queue_rows: int = 1024
    """Maximum rows that may wait; beyond it, new requests are refused at once."""
    max_delay_s: float = 0.0
    """How long an idle engine waits for a fuller batch, however few requests come."""
    busy_delay_s: float = 0.004
    """Batching delay under load: how long an idle engine waits for a fuller batch while at least `busy_requests`
    requests are in progress and new ones arrive less than a quarter of this apart."""
    busy_requests: int = 4
    """Requests in progress from which the delay under load applies. Fewer would wait without filling a batch."""


class Batcher:
    """Batches the rows of one graph over one or more engines of it. Lives on one event loop."""

    def __init__(
        self,
        engines: Sequence[Engine],
        options: BatcherOptions,
        *,
        on_run: Callable[[int, float], None] = lambda _rows, _seconds: None,
        clock: Clock | None = None,
    ) -> None:
        """Stores its parts; `start` begins the work.

        Args:
            engines: Each runs one batch at a time, in a thread of its own; list an engine twice to run two at once.
            options: Sizes and delay.
            on_run: Called on the event loop after each run with its rows and seconds.
            clock: For tests; this machine's if there is none.
        """
        self.options = options
        """Sizes and delay."""
        self.stats = BatcherStats()
        """What it did; may be replaced, to count anew."""
        self._engines = engines
        self._on_run = on_run
        self._clock = clock or Clock()
        self._threads = ThreadPoolExecutor(len(engines), thread_name_prefix="engine")
        self._queue: deque[Entry] = deque()
        self._queued_rows = 0
        self._running: Counter[Bucket] = Counter()
        self._arrived = asyncio.Event()
        self._hurry = asyncio.Event()
        self._last_request = -math.inf
        self._is_busy = False
        self._open_requests = 0
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
        self,
        rows: Rows,
        *,
        deadline: float | None = None,
        admitted: bool = False,
        stats: RunStats | None = None,
        step: Step | None = None,
    ) -> dict[str, NDArray[Any]]:
        """Runs rows and returns their outputs.

        Args:
            rows: Every input of the graph, [row, ...], the same number of rows in each, at least one.
            deadline: On the clock of `time.monotonic`; later than that nobody waits.
            admitted: True for later steps of a request whose first step was let in: these are never refused.
            stats: Gets what becomes of the rows added.
            step: Gets the outputs and makes the rows to run next, of which none is refused; None ends it. Called on the
                event loop, so that it must be short; what it raises, this raises.

        Returns:
            Every output, [row, ...], of the last step.

        Raises:
            QueueFullError: No room for the rows; says when to try again.
            DeadlineExceededError: The deadline passed while the rows waited.
            EngineError: The graph failed on these rows.
            UnavailableError: The batcher was closed.
            ValueError: The tensors disagree in their number of rows, or have none.
        """
        started = self._clock.now_s()
        entry: Entry | None = None
        succeeded = False
        try:
            entry = self._enter(rows, deadline, stats or RunStats(), step, admitted=admitted)
            self._open_requests += 1
            outputs = await entry.future
            succeeded = True
            return outputs
        finally:
            if entry:
                self._open_requests -= 1
                self._leave(entry)
            tally = self.stats.succeeded if succeeded else self.stats.failed
            tally.add(self._clock.now_s() - started)

    async def close(self) -> None:
        """Fails what waits, lets running batches end, closes the engines."""
        self._closed = True
        for entry in self._queue:
            if not entry.future.done():
                entry.future.set_exception(UnavailableError("the model was unloaded; try again"))
        self._queue.clear()
        self._arrived.set()
        self._hurry.set()
        await asyncio.gather(*self._workers, return_exceptions=True)
        await asyncio.to_thread(self._threads.shutdown)
        for engine in dict.fromkeys(self._engines):
            engine.close()

    def _enter(
        self, rows: Rows, deadline: float | None, stats: RunStats, step: Step | None, *, admitted: bool
    ) -> Entry:
        self._check_open()
        count = count_rows(rows)
        if not admitted and self._queued_rows + count > self.options.max_queue_rows:
            raise QueueFullError(
                f"{self._queued_rows} rows wait and {count} more came; the queue holds {self.options.max_queue_rows}",
                retry_after_s=min(max(self._queued_rows * self._row_s / len(self._engines), 0.05), 5.0),
            )
        entry = Entry(rows, count, deadline, stats, step, asyncio.get_running_loop().create_future())
        self._line_up(entry)
        self._note_pace(entry.arrived, is_new=not admitted)
        return entry

    def _check_open(self) -> None:
        if self._closed:
            raise UnavailableError("the model was unloaded; try again")

    def _line_up(self, entry: Entry) -> None:
        entry.bucket = frozenset((name, tensor.dtype.num, tensor.shape[1:]) for name, tensor in entry.rows.items())
        entry.arrived = self._clock.now_s()
        self._queue.append(entry)
        self._queued_rows += entry.count
        self._arrived.set()

    def _leave(self, entry: Entry) -> None:
        """Takes back what of an entry will not run any more, because it was cancelled or has failed."""
        if entry.taken == entry.count:
            return
        if not entry.taken:
            self._end_wait(entry, self._clock.now_s())
        self._queued_rows -= entry.count - entry.taken
        entry.taken = entry.count
        with suppress(ValueError):  # it may have been dropped already
            self._queue.remove(entry)

    def _end_wait(self, entry: Entry, now: float) -> None:
        entry.stats.queue_s += now - entry.arrived
        self.stats.waits.add(now - entry.arrived)

    async def _work(self, engine: Engine) -> None:
        loop = asyncio.get_running_loop()
        while True:
            while self._next_bucket() is None:
                if self._closed:
                    return
                self._arrived.clear()
                await self._arrived.wait()
            if self.options.max_delay_s:
                await self._wait_for_more()
            elif self._is_busy:
                await self._wait_for_a_pause()
            bucket = self._next_bucket()
            if bucket is None or not (batch := self._take(bucket)):
                continue
            self._running[bucket] += 1
            try:
                self._settle(await loop.run_in_executor(self._threads, run_batch, engine, batch))
            except Exception as error:  # whatever it is, the worker must go on with the next batch
                logger.exception("batch failed outside the engine")
                for part in batch:
                    if not part.entry.future.done():
                        part.entry.future.set_exception(EngineError(repr(error)))
            finally:
                self._running -= Counter([bucket])

    def _next_bucket(self) -> Bucket | None:
        """Which rows to begin a run with: the oldest; beside other runs those that gain nothing by waiting for them.

        These are rows that cannot share a run with those, a full batch, and the rest of a request that is running.
        """
        if not self._running:
            return self._queue[0].bucket if self._queue else None
        waiting: Counter[Bucket] = Counter()
        for entry in self._queue:
            waiting[entry.bucket] += entry.count - entry.taken
        for entry in self._queue:
            is_full = waiting[entry.bucket] >= self.options.max_batch_rows
            if is_full or entry.taken or entry.bucket not in self._running:
                return entry.bucket
        return None

    async def _wait_for_more(self) -> None:
        until = self._queue[0].arrived + self.options.max_delay_s
        while self._queue and self._queued_rows < self.options.max_batch_rows:
            remaining = until - self._clock.now_s()
            if remaining <= 0:
                return
            self._arrived.clear()
            await self._clock.wait(self._arrived, remaining)

    def _note_pace(self, now: float, *, is_new: bool) -> None:
        """Notes whether several callers are at it. A later step of a running request ends the wait."""
        pause_s = self.options.busy_delay_s / _PAUSES_PER_DELAY
        self._is_busy = (
            is_new and self._open_requests >= self.options.busy_requests and now - self._last_request < pause_s
        )
        if is_new:
            self._last_request = now
        if not self._is_busy or self._queued_rows >= self.options.max_batch_rows:
            self._hurry.set()

    async def _wait_for_a_pause(self) -> None:
        """Waits until no request has come for a while, the batch is full, or the oldest has waited long enough."""
        delay_s = self.options.busy_delay_s
        until = self._queue[0].arrived + delay_s
        self._hurry.clear()
        while self._queued_rows < self.options.max_batch_rows and not self._hurry.is_set():
            remaining = min(until, self._last_request + delay_s / _PAUSES_PER_DELAY) - self._clock.now_s()
            if remaining <= 0:
                return
            await self._clock.wait(self._hurry, remaining)

    def _take(self, bucket: Bucket) -> list[Slice]:
        """Forms the next batch from the oldest entries of a bucket; drops what nobody waits for."""
        now = self._clock.now_s()
        batch: list[Slice] = []
        room = self.options.max_batch_rows
        kept: list[Entry] = []
        while self._queue and room:
            entry = self._queue.popleft()
            if entry.future.done():
                continue
            if entry.deadline is not None and entry.deadline <= now:
                entry.future.set_exception(DeadlineExceededError("the deadline passed while the request was queued"))
                continue
            if entry.bucket != bucket:
                kept.append(entry)
                continue
            if not entry.taken:
                self._end_wait(entry, now)
            part = Slice(entry, entry.taken, min(entry.count, entry.taken + room))
            batch.append(part)
            room -= part.count
            self._queued_rows -= part.count
            entry.taken = part.stop
            if entry.taken < entry.count:
                kept.append(entry)  # behind those that came before it, so that no bucket starves another
        self._queue.extendleft(reversed(kept))
        return batch

    def _settle(self, runs: Sequence[Run]) -> None:
        for run in runs:
            self._row_s = run.seconds / run.rows
            self._on_run(run.rows, run.seconds)
            if not isinstance(run.outputs, EngineError):
                self.stats.add_run(run.rows, len(run.parts), run.seconds)
            position = 0
            for part in run.parts:
                entry, start = part.entry, position
                position += part.count
                entry.stats.compute_s += run.seconds
                entry.stats.batch_rows = max(entry.stats.batch_rows, run.rows)
                if entry.future.done():
                    continue
                if not isinstance(run.outputs, EngineError):
                    entry.parts[part.start] = slice_rows(run.outputs, start, position, count=run.rows)
                    entry.done += part.count
                    if entry.done == entry.count:
                        self._go_on(entry, concatenate([entry.parts[key] for key in sorted(entry.parts)]))
                elif len(run.parts) == 1:  # of several, each was run again alone
                    entry.future.set_exception(run.outputs)

    def _go_on(self, entry: Entry, outputs: dict[str, NDArray[Any]]) -> None:
        """Ends an entry, or lets it wait with the rows of its next step, behind those that wait already."""
        try:
            rows = entry.step(outputs) if entry.step else None
            if rows is None:
                entry.future.set_result(outputs)
                return
            count = count_rows(rows)
            self._check_open()
        except StopIteration as error:  # a future cannot hold one
            entry.future.set_exception(RuntimeError(f"a step raised {error!r}"))
            return
        except Exception as error:  # noqa: BLE001 - whatever a step raises is its request's alone
            entry.future.set_exception(error)
            return
        entry.rows, entry.count, entry.taken, entry.done, entry.parts = rows, count, 0, 0, {}
        self._line_up(entry)
        self._note_pace(entry.arrived, is_new=False)
