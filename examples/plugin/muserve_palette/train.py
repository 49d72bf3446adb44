"""Trains the autoencoder: what the loop of Muserve cannot know of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from muserve_export.training.networks import TrainedNetwork, learn_together, modules_of, optimizers_of
from muserve_palette.colours import swatch, to_hex
from muserve_palette.config import PaletteConfig
from muserve_palette.data import PaletteData
from muserve_palette.model import Encoder, Generator
from muserve_palette.words import word_vector

__all__ = ["PaletteLearner", "PaletteSet", "make_learner"]

_SHOWN_WORDS, _SHOWN_EACH, _SHEET_SEED = 12, 4, 0
_RECONSTRUCTION_WEIGHT = 100.0  # OKLab distances are small beside the divergence


class PaletteSet:
    """The training palettes, each by every one of its words in turn; see `training.loop.TrainingSet`."""

    def __init__(self, config: PaletteConfig, data: PaletteData) -> None:
        self._items = [
            (palette, mood.words[number % len(mood.words)])
            for mood in data.moods
            for palette in mood.part("training")
            for number in range(config.repeats)
        ]
        self._vectors = {word: torch.from_numpy(word_vector(word, config.word_size)) for word in data.words}

    def __len__(self) -> int:
        return len(self._items)

    def batch(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Returns palettes, [item, colour, 3], and words, [item, word_size]."""
        chosen = [self._items[index] for index in indices.tolist()]
        palettes = torch.from_numpy(np.stack([palette for palette, _ in chosen]))
        return palettes, torch.stack([self._vectors[word] for _, word in chosen])


class PaletteLearner:
    """The two networks and what one step does with them; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: PaletteConfig, words: list[str]) -> None:
        torch.manual_seed(config.seed)
        self._config, self._fabric, self._words = config, fabric, words
        encoder, generator = Encoder(config), Generator(config)
        self._encoder, self._generator = (
            TrainedNetwork(fabric, name, network, torch.optim.Adam(network.parameters(), lr=config.learning_rate))
            for name, network in (("encoder", encoder), ("generator", generator))
        )

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return modules_of((self._generator, self._encoder))

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return optimizers_of((self._generator, self._encoder))

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        """Learns from one batch."""
        del step, steps
        palette, word = batch
        mean, log_variance = self._encoder(palette, word)
        latent = mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance)
        reconstruction = _RECONSTRUCTION_WEIGHT * (self._generator(latent, word) - palette).square().mean()
        divergence = 0.5 * (mean.square() + log_variance.exp() - 1 - log_variance).sum(1).mean()
        learn_together((self._encoder, self._generator), reconstruction + self._config.kl_weight * divergence)
        return {"reconstruction": reconstruction, "divergence": divergence}

    def sheet(self) -> NDArray[np.uint8]:
        """Draws four palettes for each of twelve words, a word a row."""
        random = np.random.default_rng(_SHEET_SEED)
        rows = []
        for word in self._words[:_SHOWN_WORDS]:
            latent = torch.from_numpy(random.standard_normal((_SHOWN_EACH, self._config.latent_size), dtype=np.float32))
            vector = torch.from_numpy(word_vector(word, self._config.word_size)).expand(_SHOWN_EACH, -1)
            with torch.no_grad():
                made = self._generator(self._fabric.to_device(latent), self._fabric.to_device(vector)).cpu().numpy()
            rows.append(np.concatenate([swatch(to_hex(palette)) for palette in made], axis=1))
        return np.concatenate(rows)


def make_learner(fabric: Fabric, config: PaletteConfig, data: PaletteData) -> tuple[PaletteLearner, PaletteSet]:
    """Builds the networks and the items that they learn from."""
    return PaletteLearner(fabric, config, [mood.words[0] for mood in data.moods]), PaletteSet(config, data)
