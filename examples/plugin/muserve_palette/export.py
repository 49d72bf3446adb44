"""Plans the bundle: the generator, golden requests, and a sheet of samples."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from google.protobuf import any_pb2
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_export.bundling import BundlePlan, GraphSource, tensor_spec
from muserve_export.training.trained import TrainedModel
from muserve_palette.colours import COLOURS, swatch
from muserve_palette.config import PaletteConfig
from muserve_palette.data import PaletteData
from muserve_palette.model import Generator
from muserve_palette.v1 import palette_pb2
from muserve_palette.words import word_vector
from muserve_server.model import LocalModel
from muserve_server.tasks.media.png import encode_png

__all__ = ["plan_bundle"]

_GOLDEN_TOLERANCE = 1e-4
_SHOWN_EACH = 4


def plan_bundle(trained: TrainedModel[PaletteConfig, PaletteData]) -> BundlePlan:
    """Plans a bundle of the palette task."""
    config, data = trained.config, trained.data
    settings = any_pb2.Any()
    settings.Pack(
        palette_pb2.PaletteSettings(
            graph="generator", latent_size=config.latent_size, word_size=config.word_size, moods=data.words
        )
    )
    manifest = manifest_pb2.ModelManifest(
        task_name="palette",
        description=f"Makes palettes of {COLOURS} colours for mood words: a conditional VAE.",
        training_data=[data.source],
        licence="LicenseRef-owner" if config.has_own_data else "Apache-2.0",
        custom=settings,
    )
    graph = _graph(trained.load(Generator(config), "generator"), config, data)
    return BundlePlan(manifest=manifest, graphs=[graph], goldens=[_golden(data.words[0])], samples=_samples)


def _golden(mood: str) -> manifest_pb2.GoldenRequest:
    golden = manifest_pb2.GoldenRequest(name="first", tolerance=_GOLDEN_TOLERANCE)
    golden.custom.Pack(palette_pb2.MakePalettesRequest(mood=mood, count=3, seed=7))
    return golden


def _graph(generator: Generator, config: PaletteConfig, data: PaletteData) -> GraphSource:
    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[np.float32], ...]:
        words = random.choice(data.words, rows)
        latent = random.standard_normal((rows, config.latent_size), dtype=np.float32)
        return latent, np.stack([word_vector(str(word), config.word_size) for word in words])

    return GraphSource(
        role="generator",
        module=generator,
        inputs=(
            tensor_spec("latent", [config.latent_size], "standard normal"),
            tensor_spec("word", [config.word_size], "hashed letters, of length 1"),
        ),
        outputs=(tensor_spec("palette", [COLOURS, 3], "OKLab"),),
        draw=draw,
    )


async def _samples(model: LocalModel) -> Mapping[str, bytes]:
    """Draws samples 0 to 3 of seed 0 for the first word of each mood, a mood a row."""
    settings: Any = model.bundle.settings
    rows = []
    for mood in settings.moods[:: max(1, len(settings.moods) // 24)]:
        request = palette_pb2.MakePalettesRequest(mood=mood, count=_SHOWN_EACH, seed=0)
        palettes = (await model.answer(request)).palettes
        rows.append(np.concatenate([swatch(list(palette.colours)) for palette in palettes], axis=1))
    return {"sheet.png": encode_png(np.concatenate(rows), {"seed": 0})}
