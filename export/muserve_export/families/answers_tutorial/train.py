"""The published training: binary cross-entropy, Adam, one discriminator step for each generator step."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers_tutorial.data import LengthSet
from muserve_export.families.answers_tutorial.model import LATENT_SIZE, make_networks

__all__ = ["TutorialLearner", "make_learner"]


class TutorialLearner:
    """The published training; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: AnswersConfig) -> None:
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._modules: dict[str, Any] = {}
        self._optimizers: dict[str, Any] = {}
        for name, module in zip(("generator", "discriminator"), make_networks(), strict=True):
            optimizer = torch.optim.Adam(module.parameters(), lr=config.critic_learning_rate)
            self._modules[name], self._optimizers[name] = fabric.setup(module, optimizer)

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return self._modules

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return {f"{name}_optimizer": optimizer for name, optimizer in self._optimizers.items()}

    def sheet(self) -> NDArray[np.uint8] | None:
        """Numbers make no sheet."""
        return None

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Teaches the discriminator, then the generator, one batch."""
        (real,) = batch
        fake = self._modules["generator"](torch.randn(len(real), LATENT_SIZE, device=real.device))
        discriminator_loss = (self._judge(real, real=True) + self._judge(fake.detach(), real=False)) / 2
        self._apply(discriminator_loss, "discriminator")
        generator_loss = self._judge(fake, real=True)
        self._apply(generator_loss, "generator")
        return {"generator_loss": generator_loss.detach(), "discriminator_loss": discriminator_loss.detach()}

    def _judge(self, values: Tensor, *, real: bool) -> Tensor:
        logits = self._modules["discriminator"](values)
        return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))

    def _apply(self, loss: Tensor, name: str) -> None:
        self._optimizers[name].zero_grad()
        self._fabric.backward(loss)
        self._optimizers[name].step()


def make_learner(fabric: Fabric, config: AnswersConfig, data: LengthSet) -> tuple[TutorialLearner, LengthSet]:
    """Builds the networks; the data are the items."""
    return TutorialLearner(fabric, config), data
