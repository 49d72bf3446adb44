"""Work without a server, in a plain loop: the processes and threads that do it, whatever it is."""

from __future__ import annotations

import multiprocessing
import threading
import time
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from multiprocessing.connection import Connection
from types import coroutine
from typing import ParamSpec, Protocol, TypeVar

import onnxruntime as ort

from muserve.bundle import Bundle
from muserve_server.rows import Rows, Step
from muserve_server.tasks import noise

__all__ = ["MakeRaw", "Raw", "RawCall", "RawWorkers", "SetUp", "open_session"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Raw(Protocol):
    """A bundle's generator with all that belongs to an answer, and no server."""

    def draw(self, seeds: Sequence[int]) -> list[bytes]:
        """Returns sample 0 of each seed, encoded, all from one run of the graph."""


MakeRaw = Callable[[int], Raw]
"""Makes one that runs the graph with so many threads, in whatever process: it must pickle."""


@dataclass(frozen=True)
class SetUp:
    """One way to run onnxruntime without a server."""

    rows: int
    """Samples a run of the graph."""
    processes: int = 1
    """Processes, each with a session of its own."""
    threads: int = 1
    """Python threads of a process, on one session. Each draws, runs and encodes."""
    run_threads: int = 1
    """Threads of one run of the graph."""

    def __str__(self) -> str:
        text = f"{self.rows} a run, {self.processes} process{'es' * (self.processes > 1)}, "
        text += f"{self.threads} thread{'s' * (self.threads > 1)}"
        return text + f", {self.run_threads} threads a run" * (self.run_threads > 1)


class RawCall:
    """Hands the rows to whoever drives the task, and does all else at once."""

    @staticmethod
    @coroutine
    def infer(graph: str, rows: Rows) -> Generator[Rows, Rows, Rows]:
        """Runs rows; see `Call.infer`."""
        del graph
        return (yield rows)

    @staticmethod
    async def offload(
        function: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Runs a function; see `Call.offload`."""
        return function(*args, **kwargs)

    run_soon = offload

    async def iterate(self, graph: str, rows: Rows, step: Step) -> None:
        """Runs and steps on; see `Call.iterate`."""
        following: Rows | None = rows
        while following is not None:
            following = step(await self.infer(graph, following))


class RawWorkers:
    """Processes that draw samples on command."""

    def __init__(self, make: MakeRaw, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        for _ in range(processes):
            here, there = context.Pipe()
            context.Process(target=_serve, args=(make, there), daemon=True).start()
            self._pipes.append(here)
        for pipe in self._pipes:
            pipe.recv()

    def samples_per_s(self, set_up: SetUp, seconds: float) -> float:
        """Measures a set-up for some seconds."""
        pipes = self._pipes[: set_up.processes]
        for pipe in pipes:
            pipe.send((set_up, seconds))
        return float(sum(pipe.recv() for pipe in pipes))

    def close(self) -> None:
        """Ends the processes."""
        for pipe in self._pipes:
            pipe.send(None)


def open_session(bundle: Bundle, role: str, run_threads: int) -> ort.InferenceSession:
    """Opens a graph to run as the engine runs it: its threads do not spin."""
    graph = next(graph for graph in bundle.manifest.graphs if graph.role == role)
    options = ort.SessionOptions()
    options.intra_op_num_threads = run_threads
    options.inter_op_num_threads = 1
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(bundle.folder / graph.onnx_file, options, providers=["CPUExecutionProvider"])


def _serve(make: MakeRaw, pipe: Connection) -> None:
    made: dict[int, Raw] = {}
    pipe.send("ready")
    while (order := pipe.recv()) is not None:
        set_up, seconds = order
        if set_up.run_threads not in made:
            made[set_up.run_threads] = make(set_up.run_threads)
            _samples_in(made[set_up.run_threads], set_up, seconds=0.2)
        started = time.monotonic()
        count = _samples_in(made[set_up.run_threads], set_up, seconds)
        pipe.send(count / (time.monotonic() - started))


def _samples_in(raw: Raw, set_up: SetUp, seconds: float) -> int:
    """Draws for some seconds and returns how many samples came."""
    counts = [0] * set_up.threads
    until = time.monotonic() + seconds

    def loop(index: int) -> None:
        while time.monotonic() < until:
            counts[index] += len(raw.draw([noise.draw_seed() for _ in range(set_up.rows)]))

    workers = [threading.Thread(target=loop, args=(index,)) for index in range(set_up.threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    return sum(counts)
