"""Images without a server: onnxruntime, the task's noise, PNG encoding and facts in a plain loop."""

from __future__ import annotations

import multiprocessing
import threading
import time
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort

from muserve import __version__
from muserve.bundle import Bundle, read_bundle
from muserve_server.tasks import noise
from muserve_server.tasks.image.png import encode_png, to_pixels

__all__ = ["TUTORIAL", "RawWorkers", "SetUp", "raw_png", "tutorial_bundle"]

TUTORIAL = 1
"""The version of digits that is measured."""


@dataclass(frozen=True)
class SetUp:
    """One way to run onnxruntime without a server."""

    rows: int
    """Images a run of the graph."""
    processes: int = 1
    """Processes, each with a session of its own."""
    threads: int = 1
    """Python threads of a process, on one session. Each draws, runs and encodes."""

    def __str__(self) -> str:
        return (
            f"{self.rows} image{'s' * (self.rows > 1)} a run, {self.processes} process{'es' * (self.processes > 1)}, "
            f"{self.threads} thread{'s' * (self.threads > 1)}"
        )


class _Generator:
    """A bundle's generator, run as the engine runs it: one thread a run, none of them spinning."""

    def __init__(self, models: Path) -> None:
        self._bundle = tutorial_bundle(models)
        self._settings = self._bundle.manifest.image
        graph = next(graph for graph in self._bundle.manifest.graphs if graph.role == self._settings.graph)
        options = ort.SessionOptions()
        options.intra_op_num_threads = 1
        options.inter_op_num_threads = 1
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        path = self._bundle.folder / graph.onnx_file
        self._session = ort.InferenceSession(path, options, providers=["CPUExecutionProvider"])

    def draw(self, seeds: list[int]) -> list[bytes]:
        """Returns sample 0 of each seed, all from one run."""
        settings = self._settings
        latents = [noise.standard_normal(seed, 0, 1, settings.latent_size) for seed in seeds]
        latent = latents[0] if len(latents) == 1 else np.concatenate(latents)
        (images,) = self._session.run([settings.image_output], {settings.latent_input: latent})
        if not np.isfinite(images).all():
            raise ValueError("the graph gave values that are no numbers")
        pixels = to_pixels(images, settings.black, settings.white)
        return [encode_png(image, self._facts(seed)) for image, seed in zip(pixels, seeds, strict=True)]

    def _facts(self, seed: int) -> dict[str, Any]:
        manifest = self._bundle.manifest
        return {
            "model": manifest.name,
            "version": manifest.version,
            "digest": self._bundle.digest,
            "seed": seed,
            "sample": 0,
            "truncation": 1.0,
            "software": f"Muserve {__version__}",
        }

    def images_in(self, rows: int, threads: int, seconds: float) -> int:
        """Draws for some seconds and returns how many images came."""
        counts = [0] * threads
        until = time.monotonic() + seconds

        def loop(index: int) -> None:
            while time.monotonic() < until:
                counts[index] += len(self.draw([noise.draw_seed() for _ in range(rows)]))

        workers = [threading.Thread(target=loop, args=(index,)) for index in range(threads)]
        for worker in workers:
            worker.start()
        for worker in workers:
            worker.join()
        return sum(counts)


class RawWorkers:
    """Processes that draw images on command."""

    def __init__(self, models: Path, processes: int) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipes: list[Connection] = []
        for _ in range(processes):
            here, there = context.Pipe()
            context.Process(target=_serve, args=(models, there), daemon=True).start()
            self._pipes.append(here)
        for pipe in self._pipes:
            pipe.recv()

    def images_per_s(self, set_up: SetUp, seconds: float) -> float:
        """Measures a set-up for some seconds."""
        pipes = self._pipes[: set_up.processes]
        for pipe in pipes:
            pipe.send((set_up.rows, set_up.threads, seconds))
        return float(sum(pipe.recv() for pipe in pipes))

    def close(self) -> None:
        """Ends the processes."""
        for pipe in self._pipes:
            pipe.send(None)


def raw_png(models: Path, seed: int) -> bytes:
    """Returns sample 0 of a seed: the served one has the same bytes."""
    return _Generator(models).draw([seed])[0]


def tutorial_bundle(models: Path) -> Bundle:
    """Returns the tutorial GAN: small enough that serving it costs more than running it."""
    return read_bundle(models / "digits" / str(TUTORIAL))


def _serve(models: Path, pipe: Connection) -> None:
    generator = _Generator(models)
    generator.images_in(rows=32, threads=1, seconds=0.2)
    pipe.send("ready")
    while (order := pipe.recv()) is not None:
        rows, threads, seconds = order
        started = time.monotonic()
        count = generator.images_in(rows, threads, seconds)
        pipe.send(count / (time.monotonic() - started))
