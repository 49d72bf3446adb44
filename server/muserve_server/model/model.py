"""Loads a bundle and answers its requests in this process, without RPC: for the server, evaluation and tests.

async with await LocalModel.open(Path("models/digits/1")) as model:
    response = await model.answer(image_pb2.GenerateImagesRequest(count=16, seed=7))
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from google.protobuf import message_factory
from google.protobuf.message import Message

from muserve import __version__
from muserve.bundle import Bundle, BundleFileError, ManifestError, read_bundle, verify_files
from muserve.v1 import common_pb2
from muserve_server.engine import Batcher, BatcherStats, Engine, EngineError, OnnxEngine
from muserve_server.model.call import CallStats, ModelCall, RecordingCall
from muserve_server.model.goldens import Tensors, replay
from muserve_server.model.options import LocalOptions
from muserve_server.offload import Offloader
from muserve_server.tasks import Handler, Task, TaskKind

__all__ = ["LocalModel"]


class LocalModel:
    """One loaded bundle: its task, and a batcher for each of its graphs."""

    def __init__(self, bundle: Bundle, options: LocalOptions, offloader: Offloader, *, owns_offloader: bool) -> None:
        self.bundle = bundle
        self._options = options
        self._offloader = offloader
        self._owns_offloader = owns_offloader
        self._batchers: dict[str, Batcher] = {}
        self._handlers: dict[type[Message], Handler] = {}

    @classmethod
    async def open(
        cls, folder: Path, options: LocalOptions | None = None, *, offloader: Offloader | None = None
    ) -> LocalModel:
        """Verifies a bundle, opens its graphs and runs its golden requests.

        Args:
            folder: The bundle.
            options: How to run it.
            offloader: Shared threads for encoding; if None, the model makes its own.

        Raises:
            BundleError: The bundle is incomplete or inconsistent, computes other values than at export, or its task
                kind is not installed.
        """
        options = options or LocalOptions()
        bundle = await asyncio.to_thread(read_bundle, folder, import_protos=options.kinds.named)
        await asyncio.to_thread(verify_files, bundle)
        owned = offloader is None
        model = cls(bundle, options, offloader or Offloader(os.cpu_count() or 1), owns_offloader=owned)
        try:
            await model._start()
            for golden in bundle.manifest.goldens:
                await replay(bundle, golden, model.record)
            for batcher in model._batchers.values():
                batcher.stats = BatcherStats()  # the goldens were no one's requests
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
        """Answers one request of the task's service; the class of the request tells the method.

        Args:
            request: The request message; its model and version are ignored.
            deadline: On the clock of `time.monotonic`.
            stats: Updated while the call runs, so that a failed call is timed too.
            request_id: Written into the answer.

        Returns:
            The response message with all of `info`.

        Raises:
            MuserveError: As the service documents.
            EngineError: A graph failed.
            TypeError: No method of the service takes such a request.
        """
        stats = stats if stats is not None else CallStats()
        response: Any = await self._handler(request)(request, self.call(deadline, stats))
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

    def call(self, deadline: float | None, stats: CallStats) -> ModelCall:
        """Returns what runs the model's graphs for one request, whichever way its rows came.

        Args:
            deadline: On the clock of `time.monotonic`.
            stats: Updated while the request runs.
        """
        return ModelCall(self._batchers, self._offloader, deadline, stats)

    def batcher(self, role: str) -> Batcher:
        """Returns the batcher of one of the bundle's graphs."""
        return self._batchers[role]

    async def record(self, request: Message) -> Tensors:
        """Answers a request and returns the tensors of every graph run: what a golden's .npz file holds.

        Returns:
            Keys "<run>.<graph>.in.<tensor>" and "<run>.<graph>.out.<tensor>", runs counted from 0.

        Raises:
            MuserveError: As the service documents.
            ManifestError: No method of the service takes such a request.
        """
        if type(request) not in self._handlers:
            raise ManifestError(
                f"{self.bundle}: {request.DESCRIPTOR.full_name} is not a request of the task {self.bundle.task!r}"
            )
        call = RecordingCall(self._batchers, self._offloader, None, CallStats())
        await self._handler(request)(request, call)
        return call.tensors

    async def close(self) -> None:
        """Fails waiting calls, lets running batches finish, frees the graphs."""
        for batcher in self._batchers.values():
            await batcher.close()
        if self._owns_offloader:
            await self._offloader.close()

    def _handler(self, request: Message) -> Handler:
        try:
            return self._handlers[type(request)]
        except KeyError:
            raise TypeError(f"{type(request).__name__} is not a request of the task {self.bundle.task!r}") from None

    async def _start(self) -> None:
        options = self._options
        try:
            kind = options.kinds.named(self.bundle.task)
        except ManifestError as error:
            raise ManifestError(f"{self.bundle}: {error}") from error
        # It may read and index a corpus.
        task = await asyncio.to_thread(kind.open, self.bundle, options.limits_of(kind))
        try:
            self._handlers = _handlers_by_request(kind, task, options.kinds.origin(kind.name))
        except ManifestError as error:
            raise ManifestError(f"{self.bundle}: {error}") from error
        for graph in self.bundle.manifest.graphs:
            try:
                path = self.bundle.folder / graph.onnx_file
                engine = await asyncio.to_thread(OnnxEngine.open, path, graph, options.onnx)
            except EngineError as error:
                raise BundleFileError(f"{self.bundle}: {error}") from error
            engines: list[Engine] = [engine] * options.runs_of(graph)
            batcher = Batcher(engines, options.batcher_of(graph), on_run=self._run_observer(graph.role))
            batcher.start()
            self._batchers[graph.role] = batcher

    def _run_observer(self, role: str) -> Callable[[int, float], None]:
        return lambda rows, seconds: self._options.on_run(self.bundle, role, rows, seconds)


def _handlers_by_request(kind: TaskKind, task: Task, origin: str) -> dict[type[Message], Handler]:
    """Returns the task's handlers by the class of their requests.

    Raises:
        ManifestError: The task does not handle exactly the methods of its kind's service.
    """
    handlers = task.handlers()
    methods = {method.name: method.input_type for method in kind.service.methods} if kind.service else {}
    if set(handlers) != set(methods):
        raise ManifestError(
            f"its task kind {kind.name!r} is not complete: it handles {', '.join(sorted(handlers)) or 'nothing'}, and "
            f"its service has {', '.join(sorted(methods)) or 'no methods'}; ask the authors of the distribution "
            f"{origin!r}"
        )
    return {message_factory.GetMessageClass(methods[name]): handler for name, handler in handlers.items()}
