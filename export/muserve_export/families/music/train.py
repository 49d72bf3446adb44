"""Trains a generator of phrases: by reconstruction, then against a discriminator of all tracks together.

First the bar generator reconstructs real segments from the latents of a posterior (Larsen et al., "Autoencoding beyond
pixels using a learned similarity metric", ICML 2016) and from given tracks, if any, while the temporal generator learns
the prior of these latents by maximum likelihood. Then the temporal generator is trained against a discriminator of the
generated phrases. Given tracks enter the discriminator unchanged, so that the others must fit them. Real tracks of
different pieces are negatives too (as in Reed et al., "Generative Adversarial Text to Image Synthesis", ICML 2016).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn.functional import binary_cross_entropy_with_logits, relu

from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.data import MusicData, MusicSet
from muserve_export.families.music.model import (
    latent_sizes,
    make_discriminator,
    make_generator,
    make_keys,
    make_posterior,
    make_shape,
)
from muserve_export.families.music.networks.layers import Conditions, Shape
from muserve_export.families.music.networks.notes import ONSET_THRESHOLD, binarise
from muserve_export.families.music.networks.phrases import Phrases, mismatched
from muserve_export.families.music.networks.temporal import LatentSample
from muserve_export.families.music.plots import draw_phrases
from muserve_export.training.ema import MovingAverage
from muserve_export.training.schedules import linear
from muserve_server.tasks import noise

__all__ = ["MusicLearner", "make_learner"]

_SHEET_STYLES, _SHEET_EACH, _SHEET_TEMPO_BPM = 16, 4, 120.0


class MusicLearner:
    """The networks with their optimizers; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: MusicConfig, shape: Shape) -> None:
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._config = config
        self._shape = shape
        self._keys = make_keys(config, shape).to(fabric.device)
        self._posterior: Any = None
        if config.reconstruction_share:
            posterior = make_posterior(config, shape)
            self._posterior, self._posterior_optimizer = fabric.setup(
                posterior, self._adam(posterior.parameters(), config.learning_rate, config.beta1)
            )
        generator = make_generator(config, shape)
        self._average = MovingAverage(generator, config.ema_decay) if config.ema_decay else None
        if self._average:
            self._average.module.to(fabric.device)
        # The temporal generator learns again when all else is learnt, and how many steps of that there were is Adam's
        # to know.
        imagining = [value for name, value in generator.named_parameters() if "temporal." in name]
        self._generator, self._generator_optimizer, self._temporal_optimizer = fabric.setup(
            generator,
            self._adam(generator.parameters(), config.learning_rate, config.beta1),
            self._adversarial_adam(imagining, config.temporal_learning_rate),
        )
        discriminator = make_discriminator(config, shape)
        self._discriminator, self._discriminator_optimizer = fabric.setup(
            discriminator, self._adversarial_adam(discriminator.parameters(), config.discriminator_learning_rate)
        )
        self._generator.mark_forward_method("find")
        self._generator.mark_forward_method("imagine")

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        modules = {"generator": self._generator, "discriminator": self._discriminator}
        if self._posterior is not None:
            modules["posterior"] = self._posterior
        return modules | ({"generator_average": self._average.module} if self._average else {})

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        optimizers = {
            "generator_optimizer": self._generator_optimizer,
            "temporal_optimizer": self._temporal_optimizer,
            "discriminator_optimizer": self._discriminator_optimizer,
        }
        if self._posterior is not None:
            optimizers["posterior_optimizer"] = self._posterior_optimizer
        return optimizers

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        """Reconstructs in the first part of the run, if it has one; then trains adversarially."""
        config = self._config
        real, style, tempo, density = batch
        density = torch.where(self._draw(len(real)) < config.unknown_share, -torch.ones_like(density), density)
        given = self._choose_given(real)
        phrases = Phrases(self._move_to_c(real, given), Conditions(style, tempo, density), given)
        progress, first = step / steps, config.reconstruction_share
        if progress <= first:
            self._set_learning_rates(progress / first)
            return self._learn_to_find(phrases, step, progress / first)
        self._set_learning_rates((progress - first) / (1 - first))
        if not first:
            losses = self._learn_alone(phrases)
        else:
            if self._average and (step - 1) / steps <= first:  # what is imagined is written by these from now on
                self._generator.module.load_state_dict(self._average.module.state_dict())
            losses = self._learn_to_imagine(phrases)
        if self._average:
            self._average.update(self._generator.module, step)
        return losses

    def _learn_to_find(self, phrases: Phrases, step: int, progress: float) -> dict[str, Tensor]:
        """Trains reconstruction, and the temporal generator as prior of the posterior's latents."""
        config = self._config
        weight = config.divergence_weight + progress * (config.final_divergence_weight - config.divergence_weight)
        parts = []
        for part in phrases.split(config.reconstruction_batch_size):
            found, nats = self._generator.find(*self._posterior(part.real), *part.request)
            divergence = nats.mean() / (self._shape.tracks * self._shape.steps)
            losses = {"reconstruction_loss": part.reconstruction_loss(found), "divergence": divergence}
            loss = losses["reconstruction_loss"] + weight * divergence
            self._apply(loss, self._generator_optimizer, self._posterior_optimizer)
            if self._average:
                self._average.update(self._generator.module, step)
            parts.append({name: loss.detach() for name, loss in losses.items()})
        return {name: torch.stack([part[name] for part in parts]).mean() for name in parts[0]}

    def _learn_to_imagine(self, phrases: Phrases) -> dict[str, Tensor]:
        """Trains the temporal generator against the discriminator; all else is frozen.

        If the bar generator were trained too, it would learn to write fewer notes. The divergence keeps the latents
        likely. The discriminator sees probabilities, and real phrases as reconstructed: rounding would tell the two
        apart, and its straight-through gradients (`binarise`) damage the latents.
        """
        config = self._config
        with torch.no_grad():
            found = self._posterior(phrases.real)
            latents = (LatentSample.draw(parameters).drawn for parameters in found)
            again = self._generator(*latents, *phrases.request, from_noise=False)
            phrases_again = replace(phrases, real=phrases.keep_given(torch.sigmoid(again)))
        *imagined, nats = self._generator.imagine(self._noise(phrases), *found, *phrases.request)
        divergence = nats.mean() / (self._shape.tracks * self._shape.steps)
        fixed = {name: value.detach() for name, value in self._generator.module.named_parameters()}
        logits = functional_call(self._generator.module, fixed, (*imagined, *phrases.request), {"from_noise": False})
        written = phrases.keep_given(torch.sigmoid(logits))
        discriminator_loss = self._learn_to_discriminate(phrases_again, written.detach())
        generator_loss = self._persuade(self._frozen(self._discriminator)(written, phrases.conditions))
        loss = config.final_divergence_weight * divergence + config.adversarial_weight * generator_loss
        self._apply(loss, self._temporal_optimizer)
        self._discriminator.requires_grad_(requires_grad=True)
        return {
            "divergence": divergence, "discriminator_loss": discriminator_loss, "generator_loss": generator_loss,
        }  # fmt: skip

    def _learn_alone(self, phrases: Phrases) -> dict[str, Tensor]:
        """Trains generator and discriminator alone, without posterior."""
        for number in range(self._config.discriminator_steps):
            last = number == self._config.discriminator_steps - 1
            with torch.set_grad_enabled(last):
                written = phrases.keep_given(binarise(self._generator(*self._noise(phrases), *phrases.request)))
            discriminator_loss = self._learn_to_discriminate(phrases, written.detach())
        generator_loss = self._persuade(self._frozen(self._discriminator)(written, phrases.conditions))
        self._apply(generator_loss, self._generator_optimizer)
        self._discriminator.requires_grad_(requires_grad=True)
        return {"discriminator_loss": discriminator_loss, "generator_loss": generator_loss}

    def sheet(self) -> NDArray[np.uint8] | None:
        """Draws phrases of seed 0, a row of four for each of the first styles, at 120 quarter notes a minute."""
        styles = torch.arange(self._shape.styles)[:_SHEET_STYLES].repeat_interleave(_SHEET_EACH)
        count = len(styles)
        constant_size, bar_size = latent_sizes(self._config, self._shape)
        latents = noise.standard_normal(0, 0, count, constant_size + self._shape.bars * bar_size)
        constant, bars = np.split(latents, [constant_size], axis=1)
        conditions = Conditions(styles, torch.full((count,), _SHEET_TEMPO_BPM), torch.full((count,), -1.0))
        # Not through Fabric's wrapper: only the first process draws, and the wrapper would wait for the others.
        generator: nn.Module = self._average.module if self._average else self._generator.module
        generator.eval()
        with torch.no_grad():
            logits = generator(
                self._fabric.to_device(torch.from_numpy(constant)),
                self._fabric.to_device(torch.from_numpy(bars).reshape(count, self._shape.bars, bar_size)),
                Conditions(*(self._fabric.to_device(tensor) for tensor in conditions)),
            )
        self._generator.train()
        return draw_phrases((binarise(logits) > ONSET_THRESHOLD).cpu().numpy())

    def _noise(self, phrases: Phrases) -> tuple[Tensor, Tensor]:
        count, device = len(phrases.real), self._fabric.device
        constant_size, bar_size = latent_sizes(self._config, self._shape)
        constant = torch.randn(count, constant_size, device=device)
        return constant, torch.randn(count, self._shape.bars, bar_size, device=device)

    def _learn_to_discriminate(self, phrases: Phrases, written: Tensor) -> Tensor:
        config, conditions = self._config, phrases.conditions
        on_real = self._discriminator(phrases.real, conditions)
        on_written = self._discriminator(written, conditions)
        loss = self._judge(on_real, real=True) + self._judge(on_written, real=False)
        if config.mismatch_weight:
            mixed, differs = mismatched(phrases.real, conditions.style)
            on_mixed = self._judge(self._discriminator(mixed, conditions), real=False, weights=differs)
            loss = loss + config.mismatch_weight * on_mixed
        if config.loss == "wasserstein":
            loss = loss + config.gradient_penalty * self._penalise_gradient(phrases, written)
        self._apply(loss, self._discriminator_optimizer)
        return loss

    def _frozen(self, discriminator: nn.Module) -> nn.Module:
        """Freezes the discriminator, which still passes gradients on but neither keeps nor synchronises its own."""
        return discriminator.requires_grad_(requires_grad=False)

    def _apply(self, loss: Tensor, *optimizers: Any) -> None:
        for optimizer in optimizers:
            optimizer.zero_grad()
        self._fabric.backward(loss)
        for optimizer in optimizers:
            optimizer.step()

    def _judge(self, logits: Tensor, *, real: bool, weights: Tensor | None = None) -> Tensor:
        """Returns the discriminator's loss on rows that are all real or all generated, weighted by row."""
        if self._config.loss == "hinge":
            losses = relu(1 - logits) if real else relu(1 + logits)
        elif self._config.loss == "wasserstein":
            losses = -logits if real else logits
        else:
            losses = binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)), reduction="none")
        rows = _weighted(losses)
        return rows.mean() if weights is None else (rows * weights).mean()

    def _persuade(self, logits: Tensor) -> Tensor:
        """Returns the generator's loss on generated rows."""
        if self._config.loss == "cross_entropy":
            logits = -binary_cross_entropy_with_logits(logits, torch.ones_like(logits), reduction="none")
        return -_weighted(logits).mean()

    def _penalise_gradient(self, phrases: Phrases, written: Tensor) -> Tensor:
        """WGAN-GP's penalty (Gulrajani et al., "Improved Training of Wasserstein GANs", 2017)."""
        share = self._draw(len(written))[:, None, None, None, None]
        between = (share * phrases.real + (1 - share) * written).requires_grad_()
        judged = _weighted(self._discriminator(between, phrases.conditions)).sum()
        (gradient,) = torch.autograd.grad(judged, between, create_graph=True)
        penalty: Tensor = (gradient.flatten(1).norm(dim=1) - 1).square().mean()
        return penalty

    def _move_to_c(self, real: Tensor, given: Tensor) -> Tensor:
        """Transposes each phrase from its key, as found in its given tracks, or in all if none is given."""
        heard = torch.where(given.any(dim=1, keepdim=True), given, torch.ones_like(given))
        return self._keys.to_c(real, self._keys.find(real, heard))

    def _choose_given(self, real: Tensor) -> Tensor:
        """Draws which tracks are given, [batch, track]: of some rows none, of the others one or more that sound."""
        sounding = real.any(dim=4).any(dim=3).any(dim=2)
        count, tracks = sounding.shape
        accompanies = self._draw(count) < self._config.given_share
        order = self._draw(count, tracks).masked_fill(~sounding, 2.0).argsort(dim=1).argsort(dim=1)
        # One track in half of the rows, two in a quarter, and so on.
        number = 1 + (-torch.log2(self._draw(count).clamp(min=1e-6))).floor()
        return ((order < number[:, None]) & sounding & accompanies[:, None]).float()

    def _draw(self, *shape: int) -> Tensor:
        return torch.rand(*shape, device=self._fabric.device)

    def _set_learning_rates(self, progress: float) -> None:
        config = self._config
        share = linear(progress, 1.0, config.final_learning_rate_share)
        for name, optimizer in self.optimizers().items():
            rate = config.learning_rate
            if "discriminator" in name:
                rate = config.discriminator_learning_rate
            elif "temporal" in name:
                rate = config.temporal_learning_rate
            for group in optimizer.param_groups:
                group["lr"] = rate * share

    def _adam(self, parameters: Iterable[nn.Parameter], learning_rate: float, beta1: float) -> torch.optim.Adam:
        return torch.optim.Adam(parameters, lr=learning_rate, betas=(beta1, self._config.beta2))

    def _adversarial_adam(self, parameters: Iterable[nn.Parameter], learning_rate: float) -> torch.optim.Adam:
        return self._adam(parameters, learning_rate, self._config.adversarial_beta1)


def make_learner(fabric: Fabric, config: MusicConfig, data: MusicData) -> tuple[MusicLearner, MusicSet]:
    """Builds the networks and the segments that they learn from."""
    return MusicLearner(fabric, config, make_shape(config, data)), data.training


def _weighted(logits: Tensor) -> Tensor:
    """Averages judgements [batch, judgement] of phrase, bars and beats; the phrase is half of it: [batch]."""
    return 0.5 * logits[:, 0] + 0.5 * logits[:, 1:].mean(dim=1)
