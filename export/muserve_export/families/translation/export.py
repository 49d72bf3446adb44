"""Writes a translation run as a bundle of the translation task."""

from __future__ import annotations

import io
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from torch import nn

from muserve.v1 import common_pb2, manifest_pb2, translation_pb2
from muserve_export.bundling import BundlePlan, GraphSource, tensor_spec
from muserve_export.families.translation.config import TranslationConfig
from muserve_export.families.translation.data import TranslationData
from muserve_export.families.translation.model import make_generator
from muserve_export.families.translation.served import draw_sheet
from muserve_export.families.translation.train import BLACK, DIRECTIONS
from muserve_export.training.trained import TrainedModel
from muserve_server.model import LocalModel

__all__ = ["plan_bundle"]

# A tile's colours are 1/127.5 apart: differences of a hundredth of that change no pixel but by rounding.
_TOLERANCE = 1e-4
_GOLDEN_TOLERANCE = 1e-3
_MAX_BATCH_ROWS = 1
"""Tiles of one run push each other out of the caches: the server runs them beside each other (docs/performance.md)."""
_SHOWN = 12
_UNIT = "[-1, 1], RGB"


def plan_bundle(trained: TrainedModel[TranslationConfig, TranslationData]) -> BundlePlan:
    """Plans a bundle of the translation task: a generator for each direction."""
    config, data = trained.config, trained.data
    generators = {role: trained.load(make_generator(config), role) for role in DIRECTIONS}
    return BundlePlan(
        manifest=_manifest(config, data),
        graphs=[_graph(role, generator, config) for role, generator in generators.items()],
        goldens=[_golden(config)],
        samples=lambda model: _samples(model, data),
    )


def _manifest(config: TranslationConfig, data: TranslationData) -> manifest_pb2.ModelManifest:
    first, second = config.source_domain, config.target_domain
    how = "a regressor taught on pairs" if config.architecture == "paired" else "a CycleGAN"
    return manifest_pb2.ModelManifest(
        task=common_pb2.TASK_TRANSLATION,
        description=f"Translates images of {first} into {second} and back: {how}.",
        training_data=[data.source],
        licence="LicenseRef-owner" if config.has_own_data else "Apache-2.0",
        translation=manifest_pb2.TranslationSettings(
            directions=[
                manifest_pb2.TranslationDirection(source=first, target=second, graph=DIRECTIONS[0]),
                manifest_pb2.TranslationDirection(source=second, target=first, graph=DIRECTIONS[1]),
            ],
            image_input="image",
            image_output="translation",
            tile_size=config.tile_size,
            overlap=config.overlap,
            black=BLACK,
            white=-BLACK,
        ),
    )


def _graph(role: str, generator: nn.Module, config: TranslationConfig) -> GraphSource:
    size = config.tile_size

    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[Any], ...]:
        # Smooth, as pictures are: values a few pixels apart, drawn and interpolated.
        small = random.uniform(-1, 1, (rows, 3, size // 4, size // 4)).astype(np.float32)
        return (small.repeat(4, axis=2).repeat(4, axis=3),)

    return GraphSource(
        role=role,
        module=generator,
        inputs=(tensor_spec("image", [3, size, size], _UNIT),),
        outputs=(tensor_spec("translation", [3, size, size], _UNIT),),
        draw=draw,
        max_batch_rows=_MAX_BATCH_ROWS,
        tolerance=_TOLERANCE,
    )


def _golden(config: TranslationConfig) -> manifest_pb2.GoldenRequest:
    """A small made picture, there and back: one tile through each of the two graphs."""
    rows, columns = np.mgrid[:48, :64]
    pixels = np.stack([4 * columns, 5 * rows, 128 + 127 * np.sin(0.3 * rows) * np.cos(0.2 * columns)], axis=-1)
    buffer = io.BytesIO()
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(buffer, "PNG")
    return manifest_pb2.GoldenRequest(
        name="there-and-back",
        tolerance=_GOLDEN_TOLERANCE,
        translate_image=translation_pb2.TranslateImageRequest(
            image=buffer.getvalue(), target=config.target_domain, cycle=True
        ),
    )


async def _samples(model: LocalModel, data: TranslationData) -> Mapping[str, bytes]:
    """Draws sheets of held-out places, or of the first training images where nothing is held out."""
    sheets = {}
    part = "test" if data.files("test", "A") and data.files("test", "B") else "train"
    for direction, side in zip(model.bundle.manifest.translation.directions, "AB", strict=False):
        sheets[f"to-{direction.target}.png"] = await draw_sheet(model, data, part, side, count=_SHOWN)
    return sheets
