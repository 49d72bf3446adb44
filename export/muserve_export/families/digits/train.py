"""Trains a generator against a discriminator: binary cross-entropy, non-saturating (Goodfellow et al., 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.digits.data import DigitsData, ImageSet
from muserve_export.families.digits.model import make_networks
from muserve_export.training.augment import cutout, translate
from muserve_export.training.ema import MovingAverage
from muserve_server.tasks import noise
from muserve_server.tasks.media.png import contact_sheet, to_pixels

__all__ = ["DigitsLearner", "make_learner", "sheet_labels"]

BLACK = -1.0
_SHEET_SEED, _SHEET_SIDE, _LARGEST_SHEET_SIDE = 0, 8, 16


class DigitsLearner:
    """The two networks and what one step does with them; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: DigitsConfig, classes: int) -> None:
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._config = config
        self._classes = classes
        generator, discriminator = make_networks(config, classes)
        self._average = MovingAverage(generator, config.ema_decay) if config.ema_decay else None
        if self._average:
            self._average.module.to(fabric.device)
        self._generator, self._generator_optimizer = fabric.setup(
            generator, self._adam(generator, config.learning_rate)
        )
        self._discriminator, self._discriminator_optimizer = fabric.setup(
            discriminator, self._adam(discriminator, config.discriminator_learning_rate)
        )

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        average = {"generator_average": self._average.module} if self._average else {}
        return {"generator": self._generator, "discriminator": self._discriminator} | average

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return {
            "generator_optimizer": self._generator_optimizer,
            "discriminator_optimizer": self._discriminator_optimizer,
        }

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        """Teaches the discriminator one batch, then the generator as many samples."""
        real, labels = batch
        self._set_learning_rates(1.0 - (1.0 - self._config.final_learning_rate_share) * step / steps)
        losses = {"discriminator_loss": self._learn_to_discriminate(real, labels)}
        losses["generator_loss"] = self._learn_to_generate(len(real))
        if self._average:
            self._average.update(self._generator.module, step)
        return losses

    def sheet(self) -> NDArray[np.uint8]:
        """Draws a sheet of seed 0, the same that a server of the exported bundle gives."""
        labels = sheet_labels(self._classes if self._config.architecture == "convolutional" else 0)
        latent = noise.standard_normal(_SHEET_SEED, 0, len(labels), self._config.latent_size)
        # Not through Fabric's wrapper: only the first process draws, and the wrapper would wait for the others.
        generator = self._average.module if self._average else self._generator.module
        generator.eval()
        with torch.no_grad():
            inputs = (torch.from_numpy(latent), torch.tensor(labels), torch.ones(len(labels)))
            images = generator(*(self._fabric.to_device(tensor) for tensor in inputs))
        self._generator.train()
        return contact_sheet(to_pixels(images.float().cpu().numpy(), BLACK, -BLACK))

    def _learn_to_discriminate(self, real: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            fake, fake_labels = self._draw(len(real))
        # Each batch by itself: batch norm must not mix real and generated images.
        on_real = self._discriminator(self._augment(real), labels)
        on_fake = self._discriminator(self._augment(fake), fake_labels)
        loss = _cross_entropy(on_real, real=True) + _cross_entropy(on_fake, real=False)
        self._apply(loss, self._discriminator_optimizer)
        return loss

    def _learn_to_generate(self, count: int) -> Tensor:
        # The discriminator only passes gradients on: its own are neither kept nor exchanged between processes.
        self._discriminator.requires_grad_(requires_grad=False)
        with self._fabric.no_backward_sync(self._discriminator):
            fake, labels = self._draw(count)
            logits = self._discriminator(self._augment(fake), labels)
            loss = _cross_entropy(logits, real=True)
            self._apply(loss, self._generator_optimizer)
        self._discriminator.requires_grad_(requires_grad=True)
        return loss

    def _draw(self, count: int) -> tuple[Tensor, Tensor]:
        """Draws images and the labels that they were asked for."""
        device = self._fabric.device
        latent = torch.randn(count, self._config.latent_size, device=device)
        labels = torch.randint(0, self._classes, (count,), device=device)
        return self._generator(latent, labels, torch.ones(count, device=device)), labels

    def _augment(self, images: Tensor) -> Tensor:
        if self._config.augment_translation:
            images = translate(images, self._config.augment_translation, ground=BLACK)
        if self._config.augment_cutout:
            images = cutout(images, self._config.augment_cutout, ground=BLACK)
        return images

    def _apply(self, loss: Tensor, optimizer: Any) -> None:
        optimizer.zero_grad()
        self._fabric.backward(loss)
        optimizer.step()

    def _set_learning_rates(self, share: float) -> None:
        rates = (self._config.learning_rate, self._config.discriminator_learning_rate)
        for optimizer, rate in zip((self._generator_optimizer, self._discriminator_optimizer), rates, strict=True):
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    def _adam(self, module: nn.Module, learning_rate: float) -> torch.optim.Adam:
        return torch.optim.Adam(module.parameters(), lr=learning_rate, betas=(self._config.beta1, self._config.beta2))


def sheet_labels(classes: int) -> list[int]:
    """Returns the class of each sample on a square sheet: a column a class, as far as they fit.

    Args:
        classes: Number of classes; 0 for a model without labels.
    """
    side = classes if 1 < classes <= _LARGEST_SHEET_SIDE else _SHEET_SIDE
    return [index % side % max(1, classes) for index in range(side**2)]


def make_learner(fabric: Fabric, config: DigitsConfig, data: DigitsData) -> tuple[DigitsLearner, ImageSet]:
    """Builds the networks for the data's classes; they learn from the training part."""
    return DigitsLearner(fabric, config, len(data.labels)), data.training


def _cross_entropy(logits: Tensor, *, real: bool) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))
