"""Measures a bundle through the code that serves it, beside what a sceptic would do instead.

The energy score of samples X for a held-out palette y is E|X - y| - E|X - X'| / 2 (Gneiting and Raftery, JASA 2007,
section 4.2): lower is better, and neither one safe palette nor wild guesses win. |·| is the mean distance of the five
colours in OKLab, times 100; 2 is about what an eye can tell.
"""

from __future__ import annotations

import asyncio
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muserve_export.measuring import Figures, bootstrap, make_metric
from muserve_palette.colours import from_hex
from muserve_palette.config import PaletteConfig
from muserve_palette.data import PaletteData
from muserve_palette.v1 import palette_pb2
from muserve_server.model import LocalModel

__all__ = ["measure"]

_SAMPLES, _SEED = 64, 20_000
Palettes = NDArray[np.float32]


def measure(folder: Path, config: PaletteConfig, data: PaletteData, part: str) -> Figures:
    """Measures samples for each mood against its held-out palette.

    Args:
        folder: The bundle.
        config: What it was trained with.
        data: The table.
        part: "validation" while choosing, "test" to report.
    """
    del config
    drawn = asyncio.run(_draw(folder, [mood.words[0] for mood in data.moods]))
    every = np.concatenate([mood.part("training") for mood in data.moods])
    held_out = [mood.part(part)[0] for mood in data.moods]
    scores = np.array([_energy_score(made, real) for made, real in zip(drawn, held_out, strict=True)])
    training = [mood.part("training") for mood in data.moods]
    beside = {
        "the mood's mean training palette": [
            _energy_score(part.mean(0)[None], y) for part, y in zip(training, held_out, strict=True)
        ],
        "the mood's training palettes": [_energy_score(part, y) for part, y in zip(training, held_out, strict=True)],
        "all training palettes, whatever the mood": [_energy_score(every, y) for y in held_out],
    }
    interval = bootstrap(len(scores), lambda chosen: float(scores[chosen].mean()))
    score = make_metric(
        "energy_score", float(scores.mean()), "OKLab distance × 100, lower is better",
        {name: float(np.mean(values)) for name, values in beside.items()}, interval=interval,
    )  # fmt: skip
    spread = make_metric(
        "spread", float(np.mean([_spread(made) for made in drawn])), "OKLab distance × 100 of two samples for a mood",
        {"two training palettes of a mood": float(np.mean([_spread(part) for part in training]))},
    )  # fmt: skip
    return Figures([score, spread])


async def _draw(folder: Path, moods: list[str]) -> list[Palettes]:
    async with await LocalModel.open(folder) as model:
        drawn = []
        for mood in moods:
            request = palette_pb2.MakePalettesRequest(mood=mood, count=_SAMPLES, seed=_SEED)
            made = (await model.answer(request)).palettes
            drawn.append(np.stack([from_hex(palette.colours) for palette in made]))
        return drawn


def _distance(one: Palettes, other: Palettes) -> NDArray[np.float64]:
    """Mean distance of the colours of palettes [..., colour, 3]."""
    distance: NDArray[np.float64] = 100 * np.linalg.norm(one.astype(np.float64) - other, axis=-1).mean(-1)
    return distance


def _energy_score(samples: Palettes, real: Palettes) -> float:
    pairs = _distance(samples[:, None], samples[None])
    return float(_distance(samples, real).mean() - pairs.mean() / 2)


def _spread(samples: Palettes) -> float:
    count = len(samples)
    return float(_distance(samples[:, None], samples[None]).sum() / (count * (count - 1)))
