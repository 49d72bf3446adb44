"""Plans the generator's graph and its card. There is no manifest: nothing serves it."""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from muserve_export.bundling import GraphSource, GraphsPlan, tensor_spec
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers_tutorial.data import LengthSet, to_words
from muserve_export.families.answers_tutorial.model import (
    DISCRIMINATOR_SIZES,
    GENERATOR_SIZES,
    LATENT_SIZE,
    make_networks,
)
from muserve_export.training.trained import TrainedModel

__all__ = ["plan_bundle"]

_SAMPLES = 2000
_SEED = 9_000


def plan_bundle(trained: TrainedModel[AnswersConfig, LengthSet]) -> GraphsPlan:
    """Plans graphs/generator.onnx and .ts, and a card that compares drawn lengths with true ones."""
    generator = trained.load(make_networks()[0], "generator")
    return GraphsPlan([_graph(generator)], lambda name, version: _card(trained, generator, name, version))


def _card(trained: TrainedModel[AnswersConfig, LengthSet], generator: nn.Module, name: str, version: int) -> str:
    noise = torch.randn(_SAMPLES, LATENT_SIZE, generator=torch.Generator().manual_seed(_SEED))
    made, real = to_words(generator(noise)), to_words(trained.data.values)
    sizes = [" → ".join(map(str, each)) for each in (GENERATOR_SIZES, DISCRIMINATOR_SIZES)]
    return f"""# {name} {version}: the published question-answer GAN

A generator {sizes[0]} against a discriminator {sizes[1]}, binary cross-entropy, Adam.
Trained for {trained.checkpoint["step"]:,} steps.

It maps noise to one number. It cannot answer a question, and nothing serves it. The number stands for how many words an
answer has: {made.mean():.1f} ± {made.std():.1f} in {_SAMPLES:,} samples, {real.mean():.1f} ± {real.std():.1f} in true
ones.
"""


def _graph(generator: nn.Module) -> GraphSource:
    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return (random.standard_normal((rows, LATENT_SIZE)).astype(np.float32),)

    return GraphSource(
        role="generator",
        module=generator,
        inputs=(tensor_spec("latent", (LATENT_SIZE,), "standard normal"),),
        outputs=(tensor_spec("value", (1,), "words, -1 for 0, 1 for 40"),),
        draw=draw,
    )
