"""The published training: binary cross-entropy, Adam, one discriminator step for each generator step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers_tutorial.data import LengthSet
from muserve_export.families.answers_tutorial.model import LATENT_SIZE, make_networks
from muserve_export.training.losses import cross_entropy_loss
from muserve_export.training.networks import TrainedNetwork, modules_of, optimizers_of

__all__ = ["TutorialLearner", "make_learner"]


class TutorialLearner:
    """The published training; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: AnswersConfig) -> None:
        torch.manual_seed(config.seed)
        self._generator, self._discriminator = (
            TrainedNetwork(fabric, name, module, torch.optim.Adam(module.parameters(), lr=config.critic_learning_rate))
            for name, module in zip(("generator", "discriminator"), make_networks(), strict=True)
        )

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return modules_of((self._generator, self._discriminator))

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return optimizers_of((self._generator, self._discriminator))

    def sheet(self) -> NDArray[np.uint8] | None:
        """Returns None: there is no picture of numbers."""
        return None

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Trains the discriminator, then the generator, on one batch."""
        (real,) = batch
        fake = self._generator(torch.randn(len(real), LATENT_SIZE, device=real.device))
        on_real, on_fake = self._discriminator(real), self._discriminator(fake.detach())
        discriminator_loss = (cross_entropy_loss(on_real, real=True) + cross_entropy_loss(on_fake, real=False)) / 2
        self._discriminator.learn(discriminator_loss)
        generator_loss = cross_entropy_loss(self._discriminator(fake), real=True)
        self._generator.learn(generator_loss)
        return {"generator_loss": generator_loss.detach(), "discriminator_loss": discriminator_loss.detach()}


def make_learner(fabric: Fabric, config: AnswersConfig, data: LengthSet) -> tuple[TutorialLearner, LengthSet]:
    """Builds the networks; the data are the items."""
    return TutorialLearner(fabric, config), data
