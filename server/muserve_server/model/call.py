"""The call that a task gets: how one request reaches batchers and threads, and where its time goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, TypeVar

import numpy as np
from numpy.typing import NDArray

from muserve_server.engine import Batcher, RunStats
from muserve_server.offload import Offloader
from muserve_server.rows import Rows, Step

__all__ = ["CallStats", "ModelCall", "RecordingCall"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


@dataclass
class CallStats(RunStats):
    """Where the time of one call goes, added up over its runs; filled in as it runs."""

    encode_s: float = 0.0
    """Encoding and decoding, and the wait for a thread to do it."""


class ModelCall:
    """The `Call` of one request."""

    def __init__(
        self, batchers: Mapping[str, Batcher], offloader: Offloader, deadline: float | None, stats: CallStats
    ) -> None:
        self._batchers = batchers
        self._offloader = offloader
        self._deadline = deadline
        self._stats = stats
        self._admitted = False

    async def infer(self, graph: str, rows: Rows) -> Rows:
        """Runs rows; see `Call`."""
        admitted, self._admitted = self._admitted, True  # a request that was let in is not refused half-way
        return await self._batchers[graph].infer(rows, deadline=self._deadline, admitted=admitted, stats=self._stats)

    async def iterate(self, graph: str, rows: Rows, step: Step) -> None:
        """Runs rows step by step; see `Call`."""
        admitted, self._admitted = self._admitted, True

        def timed(outputs: Rows) -> Rows | None:
            started = time.monotonic()
            try:
                return step(outputs)
            finally:
                self._stats.encode_s += time.monotonic() - started

        await self._batchers[graph].infer(
            rows, deadline=self._deadline, admitted=admitted, stats=self._stats, step=timed
        )

    async def offload(
        self, function: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Runs a function in a thread; see `Call`."""
        started = time.monotonic()
        try:
            return await self._offloader.run(function, *args, **kwargs)
        finally:
            self._stats.encode_s += time.monotonic() - started

    async def run_soon(
        self, function: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Runs a short function on the event loop; see `Call`."""
        started = time.monotonic()
        try:
            return await self._offloader.run_soon(function, *args, **kwargs)
        finally:
            self._stats.encode_s += time.monotonic() - started


class RecordingCall(ModelCall):
    """Also keeps the tensors of each run."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.tensors: dict[str, NDArray[Any]] = {}
        self._runs = 0

    async def infer(self, graph: str, rows: Rows) -> Rows:
        """Runs rows and keeps what went in and came out."""
        run, self._runs = self._runs, self._runs + 1
        outputs = await super().infer(graph, rows)
        self._keep(f"{run}", graph, rows, outputs)
        return outputs

    async def iterate(self, graph: str, rows: Rows, step: Step) -> None:
        """Runs rows step by step and keeps what went in and came out of each."""
        # By step too, since those of several loops may come in any order.
        run, self._runs = self._runs, self._runs + 1
        given, steps = rows, 0

        def kept(outputs: Rows) -> Rows | None:
            nonlocal given, steps
            self._keep(f"{run}.{steps}", graph, given, outputs)
            following = step(outputs)
            given, steps = following or given, steps + 1
            return following

        await super().iterate(graph, rows, kept)

    def _keep(self, run: str, graph: str, rows: Rows, outputs: Rows) -> None:
        for side, tensors in (("in", rows), ("out", outputs)):
            self.tensors |= {f"{run}.{graph}.{side}.{name}": np.array(tensor) for name, tensor in tensors.items()}
