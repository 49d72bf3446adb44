"""Trains two generators against two discriminators, so that there and back comes out where it began.

Zhu et al., "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks", 2017: least squares
(Mao et al., 2017), cycle consistency, identity, a pool of generated images (Shrivastava et al., 2017). The paired
baseline learns the same generators from pairs, by absolute difference: what a CycleGAN is compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import l1_loss

from muserve_export.families.translation.config import TranslationConfig
from muserve_export.families.translation.data import CropSet, TranslationData
from muserve_export.families.translation.model import make_discriminator, make_generator
from muserve_export.training.augment import translate
from muserve_export.training.losses import least_squares_loss
from muserve_export.training.networks import TrainedNetwork, learn_together, modules_of, optimizers_of
from muserve_export.training.schedules import constant_then_linear
from muserve_server.tasks.media.png import to_pixels

__all__ = ["BLACK", "DIRECTIONS", "CycleLearner", "ImagePool", "PairedLearner", "choose_learner", "make_learner"]

BLACK = -1.0
DIRECTIONS = ("a_to_b", "b_to_a")
_SHOWN = 8


class ImagePool:
    """Generated images of the past, which the discriminators see too, so that they do not forget."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._images: list[Tensor] = []

    def exchange(self, images: Tensor) -> Tensor:
        """Keeps images, and for each gives itself or, half the time once the pool is full, an older one.

        Args:
            images: [image, channel, height, width].
        """
        given = []
        for image in images.detach():
            if len(self._images) < self._size:
                self._images.append(image)
                given.append(image)
            elif self._size and torch.rand(()) < 0.5:
                index = int(torch.randint(self._size, ()))
                given.append(self._images[index].to(image.device))  # a checkpoint is read on the CPU
                self._images[index] = image
            else:
                given.append(image)
        return torch.stack(given)

    def state_dict(self) -> dict[str, Tensor]:
        """What a checkpoint keeps, so that a run resumes exactly."""
        return {"images": torch.stack(self._images)} if self._images else {}

    def load_state_dict(self, state: Mapping[str, Tensor]) -> None:
        """Takes what `state_dict` gave."""
        self._images = list(state["images"]) if state else []


class _Learner:
    """The two generators, which both ways of training share; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: TranslationConfig) -> None:
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._config = config
        self._shown: tuple[Tensor, Tensor] | None = None
        self._networks: dict[str, TrainedNetwork] = {}
        for name in DIRECTIONS:
            self._set_up(name, make_generator(config), config.learning_rate, ema_decay=config.ema_decay)

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return modules_of(self._networks.values())

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return optimizers_of(self._networks.values())

    def show(self, images: tuple[Tensor, Tensor]) -> None:
        """Names what the sheets show: images of A and of B, each [image, 3, height, width]."""
        self._shown = images

    def sheet(self) -> NDArray[np.uint8] | None:
        """Draws rows: A, A to B, and back; B, B to A, and back."""
        if self._shown is None:
            return None
        rows = []
        for images, names in zip(self._shown, (DIRECTIONS, DIRECTIONS[::-1]), strict=True):
            row = self._fabric.to_device(images)
            rows.append(row)
            for name in names:
                row = self._draw(name, row)
                rows.append(row)
        pixels = [to_pixels(row.float().cpu().numpy(), BLACK, -BLACK) for row in rows]
        count = min(len(row) for row in pixels)
        sheet: NDArray[np.uint8] = np.concatenate([np.concatenate(list(row[:count]), axis=1) for row in pixels], axis=0)
        return sheet

    def _draw(self, name: str, images: Tensor) -> Tensor:
        with torch.no_grad():
            drawn: Tensor = self._networks[name].best(images)
        return drawn

    def _set_up(self, name: str, module: nn.Module, learning_rate: float, *, ema_decay: float = 0.0) -> None:
        module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]  # faster convolutions on CPUs
        betas = (self._config.beta1, self._config.beta2)
        optimizer = torch.optim.Adam(module.parameters(), lr=learning_rate, betas=betas)
        self._networks[name] = TrainedNetwork(self._fabric, name, module, optimizer, ema_decay=ema_decay)

    def _set_learning_rates(self, step: int, steps: int) -> None:
        share = constant_then_linear(step, steps, self._config.decay_from)
        for network in self._networks.values():
            network.scale_learning_rate(share)

    def _follow(self, step: int) -> None:
        for network in self._networks.values():
            network.follow(step)


class CycleLearner(_Learner):
    """Two generators against two discriminators, without pairs."""

    def __init__(self, fabric: Fabric, config: TranslationConfig) -> None:
        super().__init__(fabric, config)
        self._pools = {name: ImagePool(config.pool_size) for name in DIRECTIONS}
        for name in DIRECTIONS:
            self._set_up(f"{name}_discriminator", make_discriminator(config), config.discriminator_learning_rate)

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name, and the pools: what else a run needs to go on exactly."""
        return {**super().optimizers(), **{f"{name}_pool": pool for name, pool in self._pools.items()}}

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        """Teaches the generators one batch of each domain, then the discriminators what came of it."""
        reals = (batch[0], batch[1])
        self._set_learning_rates(step, steps)
        with_identity = self._config.identity_weight > 0 and step <= self._config.identity_share * steps
        losses, fakes = self._learn_to_translate(reals, with_identity=with_identity)
        losses["discriminator_loss"] = self._learn_to_discriminate(reals, fakes)
        self._follow(step)
        return losses

    def _learn_to_translate(
        self, reals: tuple[Tensor, Tensor], *, with_identity: bool
    ) -> tuple[dict[str, Tensor], tuple[Tensor, Tensor]]:
        """Returns losses by name, and what the two generators made: of A in the style of B, of B in that of A."""
        judges = [self._networks[f"{name}_discriminator"].network for name in DIRECTIONS]
        generators = [self._networks[name] for name in DIRECTIONS]
        # The discriminators only pass gradients on: their own are neither kept nor exchanged between processes.
        for judge in judges:
            judge.requires_grad_(requires_grad=False)
        fakes, identity = [], torch.zeros((), device=reals[0].device)
        for generator, real, wanted in zip(generators, reals, reals[::-1], strict=True):
            # What is of the target domain already goes through in the same pass.
            made = generator(torch.cat([real, wanted]) if with_identity else real)
            fakes.append(made[: len(real)])
            if with_identity:
                identity = identity + l1_loss(made[len(real) :], wanted)
        adversarial = sum(
            (
                least_squares_loss(judge(self._augment(fake)), real=True)
                for judge, fake in zip(judges, fakes, strict=True)
            ),
            torch.zeros((), device=reals[0].device),
        )
        cycle = l1_loss(generators[1](fakes[0]), reals[0]) + l1_loss(generators[0](fakes[1]), reals[1])
        loss = adversarial + self._config.cycle_weight * (cycle + self._config.identity_weight * identity)
        learn_together(generators, loss)
        for judge in judges:
            judge.requires_grad_(requires_grad=True)
        losses = {"adversarial_loss": adversarial, "cycle_loss": cycle, "identity_loss": identity}
        return losses, (fakes[0].detach(), fakes[1].detach())

    def _learn_to_discriminate(self, reals: tuple[Tensor, Tensor], fakes: tuple[Tensor, Tensor]) -> Tensor:
        total = torch.zeros((), device=reals[0].device)
        for name, real, fake in zip(DIRECTIONS, reals[::-1], fakes, strict=True):
            judge = self._networks[f"{name}_discriminator"]
            shown = self._pools[name].exchange(fake)
            scores = judge(self._augment(torch.cat([real, shown])))
            loss = (
                least_squares_loss(scores[: len(real)], real=True) + least_squares_loss(scores[len(real) :], real=False)
            ) / 2
            judge.learn(loss)
            total = total + loss.detach()
        return total

    def _augment(self, images: Tensor) -> Tensor:
        if self._config.augment_translation:
            images = translate(images, self._config.augment_translation, ground=BLACK)
        return images


class PairedLearner(_Learner):
    """The same generators, taught on pairs."""

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        """Teaches both directions one batch of pairs."""
        self._set_learning_rates(step, steps)
        losses = {}
        for name, given, wanted in zip(DIRECTIONS, batch, batch[::-1], strict=True):
            loss = l1_loss(self._networks[name](given), wanted)
            self._networks[name].learn(loss)
            losses[f"{name}_loss"] = loss
        self._follow(step)
        return losses


def choose_learner(fabric: Fabric, config: TranslationConfig) -> CycleLearner | PairedLearner:
    """Builds the learner of an architecture."""
    return PairedLearner(fabric, config) if config.architecture == "paired" else CycleLearner(fabric, config)


def make_learner(
    fabric: Fabric, config: TranslationConfig, data: TranslationData
) -> tuple[CycleLearner | PairedLearner, CropSet]:
    """Builds the networks and the crops that they learn from."""
    learner = choose_learner(fabric, config)
    learner.show(data.training.shown(_SHOWN))
    return learner, data.training
