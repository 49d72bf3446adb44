"""A bundle becomes answers in this process, without RPC: what the server serves, evaluation scores and tests call.

async with await LocalModel.open(Path("models/digits/1")) as model:
    response = await model.answer(image_pb2.GenerateImagesRequest(count=16, seed=7))
"""

from __future__ import annotations

import asyncio
import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import numpy as np
from google.protobuf.message import Message
from numpy.typing import NDArray

from muserve import __version__
from muserve.bundle import Bundle, BundleError, BundleFileError, ManifestError, read_bundle, verify_files
from muserve.errors import MuserveError
from muserve.v1 import common_pb2, manifest_pb2
from muserve_server.engine import Batcher, BatcherOptions, Engine, EngineError, OnnxEngine, OnnxOptions, RunStats
from muserve_server.offload import Offloader
from muserve_server.tasks import TASKS, Rows, Step, TaskFactory

__all__ = ["CallStats", "LocalModel", "LocalOptions", "WarmUpError"]

_MOST_RUNS_AT_ONCE = 4
"""Unless asked for: each holds memory for a run."""

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class WarmUpError(BundleError):
    """A golden request gave other tensors than at export: wrong weights, or a machine that computes otherwise."""


@dataclass
class CallStats(RunStats):
    """Where the time of one call goes, added up over its runs; filled in as it runs."""

    encode_s: float = 0.0
    """Encoding and decoding, and the wait for a thread to do it."""


@dataclass(frozen=True)
class LocalOptions:
    """How bundles are opened and run."""

    onnx: OnnxOptions = field(default_factory=OnnxOptions)
    """How onnxruntime runs a graph."""
    batcher: BatcherOptions = field(default_factory=BatcherOptions)
    """How rows are gathered."""
    runs_at_once: int = 0
    """Runs of one graph at a time; 0 takes one, or more where a graph takes one row or one thread a run."""
    max_samples_per_call: int = 256
    """See `TaskLimits`."""
    max_pixels_per_call: int = 2**24
    """See `TaskLimits`."""
    max_pixels_in_work: int = 2**25
    """See `TaskLimits`."""
    max_series_per_call: int = 1000
    """See `TaskLimits`."""
    max_points_per_series: int = 10_000
    """See `TaskLimits`."""
    max_midi_events: int = 100_000
    """See `TaskLimits`."""
    max_bars_per_call: int = 8192
    """See `TaskLimits`."""
    max_question_bytes: int = 8_000
    """See `TaskLimits`."""
    max_context_bytes: int = 64_000
    """See `TaskLimits`."""
    max_answer_values: int = 2**22
    """See `TaskLimits`."""
    tasks: Mapping[int, TaskFactory] = field(default_factory=lambda: TASKS)
    """Task factories by `muserve.v1.Task`."""
    on_run: Callable[[Bundle, str, int, float], None] = lambda _bundle, _graph, _rows, _seconds: None
    """Called after each run with bundle, graph, rows and seconds."""

    def runs_of(self, graph: manifest_pb2.Graph) -> int:
        """Says how many runs of a graph go on at a time.

        More than one where rows gain nothing from each other, or a run nothing from more threads.
        """
        is_apart = 1 in (graph.max_batch_rows, graph.max_threads) and self.onnx.device == "cpu"
        return self.runs_at_once or (min(os.cpu_count() or 1, _MOST_RUNS_AT_ONCE) if is_apart else 1)


class LocalModel:
    """One loaded bundle: its task, and a batcher for each of its graphs."""

    def __init__(self, bundle: Bundle, options: LocalOptions, offloader: Offloader, *, owns_offloader: bool) -> None:
        self.bundle = bundle
        self._options = options
        self._offloader = offloader
        self._owns_offloader = owns_offloader
        self._batchers: dict[str, Batcher] = {}

    @classmethod
    async def open(
        cls, folder: Path, options: LocalOptions | None = None, *, offloader: Offloader | None = None
    ) -> LocalModel:
        """Verifies a bundle, opens its graphs and runs its golden requests.

        Args:
            folder: The bundle.
            options: How to run it.
            offloader: Shared threads for encoding; the model makes its own if there are none.

        Raises:
            BundleError: The bundle is not whole, contradicts itself, or computes something else than at export.
        """
        bundle = await asyncio.to_thread(read_bundle, folder)
        await asyncio.to_thread(verify_files, bundle)
        owned = offloader is None
        model = cls(
            bundle, options or LocalOptions(), offloader or Offloader(os.cpu_count() or 1), owns_offloader=owned
        )
        try:
            await model._start()
            for golden in bundle.manifest.goldens:
                await model._replay(golden)
        except BaseException:
            await model.close()
            raise
        return model

    async def __aenter__(self) -> LocalModel:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def answer(
        self, request: Message, *, deadline: float | None = None, stats: CallStats | None = None, request_id: str = ""
    ) -> Any:
        """Answers one request of the task's service.

        Args:
            request: The request message; its model and version are not looked at.
            deadline: On the clock of `time.monotonic`.
            stats: Filled in while the call runs, so that a failed call has its share too.
            request_id: Written into the answer.

        Returns:
            The response message with all of `info`.

        Raises:
            MuserveError: As the service documents.
            EngineError: A graph failed.
        """
        stats = stats if stats is not None else CallStats()
        response: Any = await self._task.run(request, _ModelCall(self._batchers, self._offloader, deadline, stats))
        info: common_pb2.ResponseInfo = response.info
        info.model = self.bundle.manifest.name
        info.version = self.bundle.manifest.version
        info.digest = self.bundle.digest
        info.request_id = request_id
        info.server_version = __version__
        timings = info.timings
        timings.queue.FromNanoseconds(int(stats.queue_s * 1e9))
        timings.compute.FromNanoseconds(int(stats.compute_s * 1e9))
        timings.encode.FromNanoseconds(int(stats.encode_s * 1e9))
        timings.batch_rows = stats.batch_rows
        return response

    async def record(self, request: Message) -> dict[str, NDArray[Any]]:
        """Answers a request and returns the tensors of every graph run: what a golden's .npz file holds.

        Returns:
            Keys "<run>.<graph>.in.<tensor>" and "<run>.<graph>.out.<tensor>", runs counted from 0.

        Raises:
            MuserveError: As the service documents.
        """
        call = _RecordingCall(self._batchers, self._offloader, None, CallStats())
        await self._task.run(request, call)
        return call.tensors

    async def close(self) -> None:
        """Fails what waits, lets running batches end, frees the graphs."""
        for batcher in self._batchers.values():
            await batcher.close()
        if self._owns_offloader:
            await self._offloader.close()

    async def _start(self) -> None:
        manifest, options = self.bundle.manifest, self._options
        factory = options.tasks.get(manifest.task)
        if factory is None:
            name = common_pb2.Task.Name(manifest.task)
            raise ManifestError(f"{self.bundle}: this build does not serve {name}; update Muserve")
        self._task = await asyncio.to_thread(factory, self.bundle, options)  # it may read and index a corpus
        for graph in manifest.graphs:
            try:
                path = self.bundle.folder / graph.onnx_file
                engine = await asyncio.to_thread(OnnxEngine.open, path, graph, self._options.onnx)
            except EngineError as error:
                raise BundleFileError(f"{self.bundle}: {error}") from error
            engines: list[Engine] = [engine] * self._options.runs_of(graph)
            batcher = Batcher(engines, self._batcher_options(graph), on_run=self._run_observer(graph.role))
            batcher.start()
            self._batchers[graph.role] = batcher

    def _batcher_options(self, graph: manifest_pb2.Graph) -> BatcherOptions:
        wanted = self._options.batcher
        most = min(wanted.max_batch_rows, graph.max_batch_rows or wanted.max_batch_rows)
        return replace(wanted, max_batch_rows=most)

    def _run_observer(self, role: str) -> Callable[[int, float], None]:
        return lambda rows, seconds: self._options.on_run(self.bundle, role, rows, seconds)

    async def _replay(self, golden: manifest_pb2.GoldenRequest) -> None:
        kind = golden.WhichOneof("request")
        if kind is None:
            raise ManifestError(f"{self.bundle}: golden {golden.name!r} has no request that this build knows")
        if not 0 <= golden.tolerance < math.inf:
            raise ManifestError(
                f"{self.bundle}: golden {golden.name!r} has the tolerance {golden.tolerance}; it must be 0 or more"
            )
        try:
            wanted = await asyncio.to_thread(_read_tensors, self.bundle.folder / golden.file)
        except Exception as error:  # numpy and zipfile raise whatever a broken file makes them
            raise BundleFileError(f"{self.bundle}: {golden.file} is no .npz without pickles ({error})") from error
        try:
            found = await self.record(getattr(golden, kind))
        except (MuserveError, EngineError) as error:
            raise WarmUpError(f"{self.bundle}: golden {golden.name!r} failed: {error}") from error
        if set(found) != set(wanted):
            raise WarmUpError(f"{self.bundle}: golden {golden.name!r} ran {sorted(found)}, at export {sorted(wanted)}")
        for name, tensor in wanted.items():
            difference = _max_abs_diff(found[name], tensor)
            if not difference <= golden.tolerance:
                raise WarmUpError(
                    f"{self.bundle}: golden {golden.name!r}: {name} differs by {difference:.3g} from what was recorded "
                    f"at export; allowed: {golden.tolerance:.3g}. Export the bundle again, or serve it elsewhere"
                )


class _ModelCall:
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
        admitted, self._admitted = self._admitted, True  # a request that was let in is not refused half-way
        return await self._batchers[graph].infer(rows, deadline=self._deadline, admitted=admitted, stats=self._stats)

    async def iterate(self, graph: str, rows: Rows, step: Step) -> None:
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
        started = time.monotonic()
        try:
            return await self._offloader.run(function, *args, **kwargs)
        finally:
            self._stats.encode_s += time.monotonic() - started

    async def run_soon(
        self, function: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        started = time.monotonic()
        try:
            return await self._offloader.run_soon(function, *args, **kwargs)
        finally:
            self._stats.encode_s += time.monotonic() - started


class _RecordingCall(_ModelCall):
    """Also keeps the tensors of each run."""

    def __init__(self, *args: Any) -> None:
        super().__init__(*args)
        self.tensors: dict[str, NDArray[Any]] = {}
        self._runs = 0

    async def infer(self, graph: str, rows: Rows) -> Rows:
        run, self._runs = self._runs, self._runs + 1
        outputs = await super().infer(graph, rows)
        self._keep(f"{run}", graph, rows, outputs)
        return outputs

    async def iterate(self, graph: str, rows: Rows, step: Step) -> None:
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


def _read_tensors(path: Path) -> dict[str, NDArray[Any]]:
    with path.open("rb") as raw, np.load(raw, allow_pickle=False) as file:  # np.load itself leaves a broken file open
        return dict(file)


def _max_abs_diff(found: NDArray[Any], wanted: NDArray[Any]) -> float:
    if found.shape != wanted.shape or found.dtype != wanted.dtype:
        return float("inf")
    return float(np.max(np.abs(found.astype(np.float64) - wanted.astype(np.float64)), initial=0.0))
