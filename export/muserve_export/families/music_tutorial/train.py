"""The published training: binary cross-entropy, Adam, one discriminator step for each generator step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music_tutorial.data import ChordData
from muserve_export.families.music_tutorial.model import DenseDiscriminator, DenseGenerator

__all__ = ["ChordLearner", "make_learner"]


class ChordLearner:
    """The two dense networks and what one step does with them; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: MusicConfig) -> None:
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._config = config
        generator, discriminator = DenseGenerator(config), DenseDiscriminator(config)
        betas = (config.beta1, config.beta2)
        self._generator, self._generator_optimizer = fabric.setup(
            generator, torch.optim.Adam(generator.parameters(), lr=config.learning_rate, betas=betas)
        )
        self._discriminator, self._discriminator_optimizer = fabric.setup(
            discriminator,
            torch.optim.Adam(discriminator.parameters(), lr=config.discriminator_learning_rate, betas=betas),
        )

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return {"generator": self._generator, "discriminator": self._discriminator}

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return {
            "generator_optimizer": self._generator_optimizer,
            "discriminator_optimizer": self._discriminator_optimizer,
        }

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Teaches the discriminator one batch, then the generator as many samples."""
        (real,) = batch
        drawn = self._generator(torch.randn(len(real), self._config.constant_latent_size, device=self._fabric.device))
        on_real, on_drawn = self._discriminator(real), self._discriminator(drawn.detach())
        discriminator_loss = _cross_entropy(on_real, real=True) + _cross_entropy(on_drawn, real=False)
        self._apply(discriminator_loss, self._discriminator_optimizer)
        # The discriminator only passes gradients on: its own are neither kept nor exchanged between processes.
        self._discriminator.requires_grad_(requires_grad=False)
        with self._fabric.no_backward_sync(self._discriminator):
            generator_loss = _cross_entropy(self._discriminator(drawn), real=True)
            self._apply(generator_loss, self._generator_optimizer)
        self._discriminator.requires_grad_(requires_grad=True)
        return {"discriminator_loss": discriminator_loss, "generator_loss": generator_loss}

    def sheet(self) -> NDArray[np.uint8] | None:
        """Draws 64 chords side by side, the highest pitch on top."""
        latents = torch.randn(64, self._config.constant_latent_size, generator=torch.Generator().manual_seed(0))
        generator: nn.Module = self._generator.module
        with torch.no_grad():
            chords = generator(self._fabric.to_device(latents)).cpu().numpy()
        ink = np.where(chords.T[::-1] > 0, 0, 255).astype(np.uint8)
        return np.kron(ink, np.ones((4, 8), np.uint8))[..., None]

    def _apply(self, loss: Tensor, optimizer: Any) -> None:
        optimizer.zero_grad()
        self._fabric.backward(loss)
        optimizer.step()


def make_learner(fabric: Fabric, config: MusicConfig, data: ChordData) -> tuple[ChordLearner, ChordData]:
    """Builds the networks; the data are the items."""
    return ChordLearner(fabric, config), data


def _cross_entropy(logits: Tensor, *, real: bool) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))
