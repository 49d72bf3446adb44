"""Trains a generator against a discriminator: binary cross-entropy, non-saturating (Goodfellow et al., 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.digits.data import load_data
from muserve_export.families.digits.model import Discriminator, Generator
from muserve_export.training.loop import init_weights, train
from muserve_export.training.run import RunFolder
from muserve_server.tasks import noise
from muserve_server.tasks.image.png import contact_sheet, to_pixels

__all__ = ["DigitsLearner", "train_digits"]

_SHEET_SEED, _SHEET_SAMPLES = 0, 64


class DigitsLearner:
    """The two networks and what one step does with them; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: DigitsConfig) -> None:
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._config = config
        generator, discriminator = Generator(config), Discriminator(config)
        self._generator, self._generator_optimizer = fabric.setup(generator, self._adam(generator))
        self._discriminator, self._discriminator_optimizer = fabric.setup(discriminator, self._adam(discriminator))

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return {"generator": self._generator, "discriminator": self._discriminator}

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return {
            "generator_optimizer": self._generator_optimizer,
            "discriminator_optimizer": self._discriminator_optimizer,
        }

    def step(self, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        """Teaches the discriminator one batch, then the generator as many samples."""
        real = batch[0]
        return {
            "discriminator_loss": self._learn_to_discriminate(real),
            "generator_loss": self._learn_to_generate(len(real)),
        }

    def sheet(self) -> NDArray[np.uint8]:
        """Draws the first 64 samples of seed 0, the same that a server of the exported bundle gives."""
        latent = noise.standard_normal(_SHEET_SEED, 0, _SHEET_SAMPLES, self._config.latent_size)
        self._generator.eval()
        with torch.no_grad():
            images = self._generator(self._fabric.to_device(torch.from_numpy(latent)))
        self._generator.train()
        return contact_sheet(to_pixels(images.float().cpu().numpy(), -1.0, 1.0))

    def _learn_to_discriminate(self, real: Tensor) -> Tensor:
        with torch.no_grad():
            fake = self._generator(self._latent(len(real)))
        logits = self._discriminator(torch.cat([real, fake]))
        loss = _cross_entropy(logits[: len(real)], real=True) + _cross_entropy(logits[len(real) :], real=False)
        self._apply(loss, self._discriminator_optimizer)
        return loss

    def _learn_to_generate(self, count: int) -> Tensor:
        # The discriminator only passes gradients on: its own are neither kept nor exchanged between processes.
        self._discriminator.requires_grad_(requires_grad=False)
        with self._fabric.no_backward_sync(self._discriminator):
            loss = _cross_entropy(self._discriminator(self._generator(self._latent(count))), real=True)
            self._apply(loss, self._generator_optimizer)
        self._discriminator.requires_grad_(requires_grad=True)
        return loss

    def _apply(self, loss: Tensor, optimizer: Any) -> None:
        optimizer.zero_grad()
        self._fabric.backward(loss)
        optimizer.step()

    def _latent(self, count: int) -> Tensor:
        return torch.randn(count, self._config.latent_size, device=self._fabric.device)

    def _adam(self, module: nn.Module) -> torch.optim.Adam:
        betas = (self._config.beta1, self._config.beta2)
        return torch.optim.Adam(module.parameters(), lr=self._config.learning_rate, betas=betas)


def train_digits(fabric: Fabric, config: DigitsConfig, run: RunFolder, *, init_from: Path | None = None) -> None:
    """Trains, or goes on with a run.

    Args:
        fabric: Launched.
        config: How.
        run: Where to write; begun or resumed.
        init_from: A checkpoint or run folder to take the first weights from.

    Raises:
        ExportError: The data, the checkpoint or the losses are of no use; says why.
    """
    data = load_data(config)
    learner = DigitsLearner(fabric, config)
    if init_from is not None:
        init_weights(learner, init_from)
    train(fabric, "digits", learner, data.training, config, run)


def _cross_entropy(logits: Tensor, *, real: bool) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))
