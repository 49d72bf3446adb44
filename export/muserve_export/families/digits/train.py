"""Trains a generator against a discriminator: binary cross-entropy, non-saturating (Goodfellow et al., 2014)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.digits.data import DigitsData, ImageSet
from muserve_export.families.digits.model import make_networks
from muserve_export.training.augment import cutout, translate
from muserve_export.training.losses import cross_entropy_loss
from muserve_export.training.networks import TrainedNetwork, modules_of, optimizers_of
from muserve_export.training.schedules import linear
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
        self._generator = TrainedNetwork(
            fabric, "generator", generator, self._adam(generator, config.learning_rate), ema_decay=config.ema_decay
        )
        self._discriminator = TrainedNetwork(
            fabric, "discriminator", discriminator, self._adam(discriminator, config.discriminator_learning_rate)
        )

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return modules_of((self._generator, self._discriminator))

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return optimizers_of((self._generator, self._discriminator))

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        """Teaches the discriminator one batch, then the generator as many samples."""
        real, labels = batch
        share = linear(step, steps, self._config.final_learning_rate_share)
        for network in (self._generator, self._discriminator):
            network.scale_learning_rate(share)
        losses = {"discriminator_loss": self._learn_to_discriminate(real, labels)}
        losses["generator_loss"] = self._learn_to_generate(len(real))
        self._generator.follow(step)
        return losses

    def sheet(self) -> NDArray[np.uint8]:
        """Draws a sheet of seed 0, the same that a server of the exported bundle gives."""
        labels = sheet_labels(self._classes if self._config.architecture == "convolutional" else 0)
        latent = noise.standard_normal(_SHEET_SEED, 0, len(labels), self._config.latent_size)
        generator = self._generator.best.eval()
        with torch.no_grad():
            inputs = (torch.from_numpy(latent), torch.tensor(labels), torch.ones(len(labels)))
            images = generator(*(self._fabric.to_device(tensor) for tensor in inputs))
        self._generator.network.train()
        return contact_sheet(to_pixels(images.float().cpu().numpy(), BLACK, -BLACK))

    def _learn_to_discriminate(self, real: Tensor, labels: Tensor) -> Tensor:
        with torch.no_grad():
            fake, fake_labels = self._draw(len(real))
        # Each batch by itself: batch norm must not mix real and generated images.
        on_real = self._discriminator(self._augment(real), labels)
        on_fake = self._discriminator(self._augment(fake), fake_labels)
        loss = cross_entropy_loss(on_real, real=True) + cross_entropy_loss(on_fake, real=False)
        self._discriminator.learn(loss)
        return loss

    def _learn_to_generate(self, count: int) -> Tensor:
        # The discriminator only passes gradients on: its own are neither kept nor exchanged between processes.
        self._discriminator.network.requires_grad_(requires_grad=False)
        with self._fabric.no_backward_sync(self._discriminator.network):
            fake, labels = self._draw(count)
            logits = self._discriminator(self._augment(fake), labels)
            loss = cross_entropy_loss(logits, real=True)
            self._generator.learn(loss)
        self._discriminator.network.requires_grad_(requires_grad=True)
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
