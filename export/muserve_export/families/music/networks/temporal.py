"""The temporal generator: noise to the latents of a phrase, and the KL divergence of a posterior from that prior."""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor, nn

from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.networks.layers import (
    CONDITION_WIDTH,
    ConditionEmbedding,
    Conditions,
    Shape,
    norm,
    row_mean,
)

__all__ = ["LatentSample", "TemporalGenerator"]

_PART = 8
"""Number of latents that are generated at once."""
_LOG_VARIANCES = (-5.0, 2.0)
"""Bounds of the log-variance, so that no latent becomes deterministic."""


class LatentSample(NamedTuple):
    """Normally distributed latents of a posterior, with a sample."""

    mean: Tensor
    """[..., latent]."""
    log_variance: Tensor
    """[..., latent]."""
    drawn: Tensor
    """[..., latent]."""

    @classmethod
    def draw(cls, parameters: Tensor) -> LatentSample:
        """Samples latents by the parameters that `Posterior` returns, [batch, 2, ...]."""
        mean, log_variance = parameters[:, 0], parameters[:, 1]
        return cls(mean, log_variance, mean + torch.randn_like(mean) * torch.exp(0.5 * log_variance))

    def part(self, begin: int, size: int) -> LatentSample:
        """Returns some of the latents."""
        return LatentSample(*(tensor[..., begin : begin + size] for tensor in self))

    def divergence(self, mean: Tensor, log_variance: Tensor) -> Tensor:
        """Returns Kullback and Leibler's divergence from another normal distribution, summed over latents: [...]."""
        apart = (self.mean - mean).square() + self.log_variance.exp()
        return 0.5 * (log_variance - self.log_variance + apart / log_variance.exp() - 1).sum(-1)


class TemporalGenerator(nn.Module):
    """Noise to the latents of a phrase: what its bars keep, then what moves from one to the next.

    It writes them part by part, each given those before it: the shared ones before each track's own, and bar after bar.
    A part is normal, with a mean and a deviation of its own, so how likely latents are can be told: this is the prior
    of the posterior's latents (as in Chung et al., "A Recurrent Latent Variable Model for Sequential Data", 2015), and
    it turns noise into latents in a way that a discriminator can teach.
    """

    def __init__(self, config: MusicConfig, shape: Shape, *, heard: int) -> None:
        """Takes `heard` features a bar of the given tracks."""
        super().__init__()
        kinds, width = 1 + shape.tracks, config.bar_width
        self.bars = shape.bars
        self.sizes = (kinds * config.constant_latent_size, kinds * config.bar_latent_size)
        constant, moved = self.sizes
        self.condition = ConditionEmbedding(shape.styles)
        self.hear = nn.Linear(heard, CONDITION_WIDTH) if heard else None
        known = CONDITION_WIDTH * (2 if heard else 1)
        self.kept_parts = nn.ModuleList([_part(known + begin, size, width) for begin, size in _parts(constant)])
        self.keep = nn.Linear(known + constant, width)
        self.bar = nn.GRUCell(moved + known, width)
        self.place = nn.Parameter(0.1 * torch.randn(shape.bars, moved))
        self.moved_parts = nn.ModuleList(
            [_part(2 * width + known + begin, size, width) for begin, size in _parts(moved)]
        )

    def forward(self, constant: Tensor, moved: Tensor, conditions: Conditions, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Returns latents of the same shapes as the noise.

        What is kept does not depend on what is moved, so that the phrases of a longer piece keep the same.

        Args:
            constant: Standard normal, [batch, size].
            moved: Standard normal, [batch, bar, size].
            conditions: What is asked for.
            heard: What is heard of the given tracks, [batch, feature, bar].
        """
        asked, known = self._known(conditions, heard)
        kept = constant[:, :0]
        for part, noise in zip(self.kept_parts, _split(constant), strict=True):
            mean, log_variance = _normal(part(torch.cat([asked, kept], dim=1)))
            kept = torch.cat([kept, mean + noise * torch.exp(0.5 * log_variance)], dim=1)
        keeping = self.keep(torch.cat([asked, kept], dim=1))
        state, before, bars = keeping, torch.zeros_like(moved[:, 0]), []
        for index, bar in enumerate(known.unbind(1)):
            state = self.bar(torch.cat([before + self.place[index], bar], dim=1), state)
            before = moved[:, 0, :0]
            for part, noise in zip(self.moved_parts, _split(moved[:, index]), strict=True):
                mean, log_variance = _normal(part(torch.cat([state, keeping, bar, before], dim=1)))
                before = torch.cat([before, mean + noise * torch.exp(0.5 * log_variance)], dim=1)
            bars.append(before)
        return kept, torch.stack(bars, dim=1)

    def divergence(self, constant: LatentSample, moved: LatentSample, conditions: Conditions, heard: Tensor) -> Tensor:
        """Returns Kullback and Leibler's divergence of what a posterior found from what is imagined, in nats: [batch].

        Args:
            constant: What each phrase keeps, [batch, size].
            moved: What moves, [batch, bar, size].
            conditions: What the phrases are.
            heard: As in `forward`.
        """
        asked, known = self._known(conditions, heard)
        nats = asked.new_zeros(len(asked))
        for part, (begin, size) in zip(self.kept_parts, _parts(self.sizes[0]), strict=True):
            normal = _normal(part(torch.cat([asked, constant.drawn[:, :begin]], dim=1)))
            nats = nats + constant.part(begin, size).divergence(*normal)
        keeping = self.keep(torch.cat([asked, constant.drawn], dim=1))
        state, states = keeping, []
        for index, bar in enumerate(known.unbind(1)):
            before = moved.drawn[:, index - 1] if index else torch.zeros_like(moved.drawn[:, 0])
            state = self.bar(torch.cat([before + self.place[index], bar], dim=1), state)
            states.append(torch.cat([state, keeping, bar], dim=1))
        given = torch.stack(states, dim=1)  # [batch, bar, feature]
        for part, (begin, size) in zip(self.moved_parts, _parts(self.sizes[1]), strict=True):
            normal = _normal(part(torch.cat([given, moved.drawn[:, :, :begin]], dim=2)))
            nats = nats + moved.part(begin, size).divergence(*normal).sum(1)
        return nats

    def _known(self, conditions: Conditions, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the conditioning of the phrase, [batch, feature], and of each bar, [batch, bar, feature]."""
        condition = self.condition(conditions)
        bars = condition[:, None].expand(-1, self.bars, -1)
        if self.hear is None:
            return condition, bars
        heard_bars = self.hear(norm(heard).transpose(1, 2))
        return torch.cat([condition, row_mean(heard_bars).squeeze(1)], dim=1), torch.cat([bars, heard_bars], dim=2)


def _part(inputs: int, outputs: int, width: int) -> nn.Sequential:
    """A network for one part of the latents; standard normal at initialisation."""
    last = nn.Linear(width, 2 * outputs)
    nn.init.zeros_(last.weight)
    nn.init.zeros_(last.bias)
    return nn.Sequential(nn.Linear(inputs, width), nn.SiLU(), nn.Linear(width, width), nn.SiLU(), last)


def _parts(size: int) -> list[tuple[int, int]]:
    """Returns offset and size of each part of the latents."""
    return [(begin, min(_PART, size - begin)) for begin in range(0, size, _PART)]


def _split(latents: Tensor) -> list[Tensor]:
    return list(latents.split(_PART, dim=1))


def _normal(parameters: Tensor) -> tuple[Tensor, Tensor]:
    """Returns mean and logarithm of the variance."""
    mean, log_variance = parameters.chunk(2, dim=-1)
    return mean, log_variance.clamp(*_LOG_VARIANCES)
