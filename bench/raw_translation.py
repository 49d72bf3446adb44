"""Translation without a server: the task's own code from request to PNG, around onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.raw import RawCall, open_session
from muserve.bundle import Bundle, read_bundle
from muserve.v1 import common_pb2, translation_pb2
from muserve_client.image_files import write_png
from muserve_server.rows import Rows
from muserve_server.tasks import installed_kinds

__all__ = ["SIDE", "RawTranslation", "newest_bundle", "photo", "request"]

SIDE = 256


class RawTranslation:
    """The first direction of the newest bundle; its PNGs have the bytes of the served ones."""

    def __init__(self, models: Path, run_threads: int = 1) -> None:
        bundle = newest_bundle(models)
        self._settings = bundle.manifest.translation
        kind = installed_kinds()["translation"]
        self._translate = kind.open(bundle, kind.limits()).handlers()["TranslateImage"]
        self._request = request(bundle, SIDE)
        self._session = open_session(bundle, self._settings.directions[0].graph, run_threads)

    def draw(self, seeds: Sequence[int]) -> list[bytes]:
        """Translates one and the same image, once a seed; see `Raw.draw`."""
        runs: list[Any] = [self._translate(self._request, RawCall()) for _ in seeds]
        requested: list[Rows] = [run.send(None) for run in runs]
        counts = [len(rows[self._settings.image_input]) for rows in requested]
        done: list[bytes] = [b""] * len(runs)
        while waiting := [index for index, png in enumerate(done) if not png]:
            tiles = np.concatenate([requested[index][self._settings.image_input] for index in waiting])
            (values,) = self._session.run([self._settings.image_output], {self._settings.image_input: tiles})
            parts = np.split(values, np.cumsum([counts[index] for index in waiting])[:-1])
            for index, part in zip(waiting, parts, strict=True):
                try:
                    requested[index] = runs[index].send({self._settings.image_output: part})
                    counts[index] = len(requested[index][self._settings.image_input])
                except StopIteration as end:
                    done[index] = end.value.png
        return done


def newest_bundle(models: Path) -> Bundle:
    """Returns the newest version of the first translation model of a folder.

    Raises:
        FileNotFoundError: There is none.
    """
    folders = sorted(models.glob("*/*/manifest.json"), key=lambda path: int(path.parent.name), reverse=True)
    for bundle in (read_bundle(path.parent) for path in folders):
        if bundle.manifest.task == common_pb2.TASK_TRANSLATION:
            return bundle
    raise FileNotFoundError(f"{models} has no translation model")


def request(bundle: Bundle, side: int, **fields: Any) -> translation_pb2.TranslateImageRequest:
    """Returns a call for one square image."""
    manifest = bundle.manifest
    target = manifest.translation.directions[0].target
    return translation_pb2.TranslateImageRequest(
        model=manifest.name, version=manifest.version, image=photo(side), target=target, **fields
    )


def photo(side: int) -> bytes:
    """Draws hills with some grain, as a PNG: about as hard to compress as a photo."""
    random = np.random.default_rng(0)
    steps = np.linspace(0, 6 * np.pi * side / SIDE, side)
    waves = np.sin(steps[:, None, None] * [1, 1.3, 0.7]) + np.cos(steps[None, :, None] * [0.9, 1.1, 1.6])
    pixels = np.clip(127 + 50 * waves + random.normal(0, 4, (side, side, 3)), 0, 255).astype(np.uint8)
    return write_png(pixels.tobytes(), width=side, height=side, channels=3)
