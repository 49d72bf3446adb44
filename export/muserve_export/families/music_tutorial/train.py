"""The published training: binary cross-entropy, Adam, one discriminator step for each generator step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music_tutorial.data import ChordData
from muserve_export.families.music_tutorial.model import DenseDiscriminator, DenseGenerator
from muserve_export.training.losses import cross_entropy_loss
from muserve_export.training.networks import TrainedNetwork, modules_of, optimizers_of

__all__ = ["ChordLearner", "make_learner"]


class ChordLearner:
    """The two dense networks and what one step does with them; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: MusicConfig) -> None:
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._config = config
        betas = (config.beta1, config.beta2)
        generator, discriminator = DenseGenerator(config), DenseDiscriminator(config)
        adam = torch.optim.Adam(generator.parameters(), lr=config.learning_rate, betas=betas)
        self._generator = TrainedNetwork(fabric, "generator", generator, adam)
        adam = torch.optim.Adam(discriminator.parameters(), lr=config.discriminator_learning_rate, betas=betas)
        self._discriminator = TrainedNetwork(fabric, "discriminator", discriminator, adam)

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return modules_of((self._generator, self._discriminator))

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return optimizers_of((self._generator, self._discriminator))

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Trains the discriminator on one batch, then the generator on as many samples."""
        (real,) = batch
        drawn = self._generator(torch.randn(len(real), self._config.constant_latent_size, device=self._fabric.device))
        on_real, on_drawn = self._discriminator(real), self._discriminator(drawn.detach())
        discriminator_loss = cross_entropy_loss(on_real, real=True) + cross_entropy_loss(on_drawn, real=False)
        self._discriminator.learn(discriminator_loss)
        # The discriminator only passes gradients on: its own are neither kept nor exchanged between processes.
        self._discriminator.network.requires_grad_(requires_grad=False)
        with self._fabric.no_backward_sync(self._discriminator.network):
            generator_loss = cross_entropy_loss(self._discriminator(drawn), real=True)
            self._generator.learn(generator_loss)
        self._discriminator.network.requires_grad_(requires_grad=True)
        return {"discriminator_loss": discriminator_loss, "generator_loss": generator_loss}

    def sheet(self) -> NDArray[np.uint8] | None:
        """Draws 64 chords side by side, the highest pitch on top."""
        latents = torch.randn(64, self._config.constant_latent_size, generator=torch.Generator().manual_seed(0))
        generator = self._generator.best
        with torch.no_grad():
            chords = generator(self._fabric.to_device(latents)).cpu().numpy()
        ink = np.where(chords.T[::-1] > 0, 0, 255).astype(np.uint8)
        return np.kron(ink, np.ones((4, 8), np.uint8))[..., None]


def make_learner(fabric: Fabric, config: MusicConfig, data: ChordData) -> tuple[ChordLearner, ChordData]:
    """Builds the networks; the data are the items."""
    return ChordLearner(fabric, config), data
