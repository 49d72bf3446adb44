"""Music without a server: the task's own code from request to MIDI, around onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.raw import RawCall, open_session
from muserve.bundle import Bundle, read_bundle
from muserve.v1 import music_pb2
from muserve_server.rows import Rows
from muserve_server.tasks import installed_kinds

__all__ = ["BARS", "RawMusic", "newest_bundle"]

BARS = 4


class RawMusic:
    """The generator of the newest bundle; its MIDI files have the bytes of the served ones."""

    def __init__(self, models: Path, run_threads: int = 1) -> None:
        bundle = newest_bundle(models)
        self._settings = bundle.manifest.music
        kind = installed_kinds()["music"]
        self._generate = kind.open(bundle, kind.limits()).handlers()["GenerateMusic"]
        self._session = open_session(bundle, self._settings.generator, run_threads)

    def draw(self, seeds: Sequence[int]) -> list[bytes]:
        """Writes pieces; see `Raw.draw`."""
        requests = [music_pb2.GenerateMusicRequest(count=1, bars=BARS, seed=seed) for seed in seeds]
        runs: list[Any] = [self._generate(request, RawCall()) for request in requests]
        requested: list[Rows] = [run.send(None) for run in runs]
        names = [name for name in (self._settings.onset_output, self._settings.hold_output) if name]
        values = self._session.run(
            names, {name: np.concatenate([rows[name] for rows in requested]) for name in requested[0]}
        )
        each = zip(*(np.split(value, len(runs)) for value in values), strict=True)
        pieces = []
        for run, outputs in zip(runs, each, strict=True):
            try:
                run.send(dict(zip(names, outputs, strict=True)))
            except StopIteration as done:
                pieces.append(done.value.pieces[0].midi)
            else:
                raise RuntimeError(f"{BARS} bars need more than one run of this model; the raw loop makes one")
        return pieces


def newest_bundle(models: Path) -> Bundle:
    """Returns the newest version of the model "music" that can accompany: neither the tutorial's nor jamming.

    Raises:
        FileNotFoundError: There is none.
    """
    folders = sorted((path for path in (models / "music").glob("*") if path.name.isdigit()), key=lambda p: int(p.name))
    for folder in reversed(folders):
        if (bundle := read_bundle(folder)).manifest.music.accompanist:
            return bundle
    raise FileNotFoundError(f"{models / 'music'} has no version with an accompanist")
