"""The paper's baseline, jamming: networks a track, which share no latent and never hear each other."""

from __future__ import annotations

from typing import cast

import torch
from torch import Tensor, nn

from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.networks.discriminators import Discriminator
from muserve_export.families.music.networks.generator import Generator, Posterior
from muserve_export.families.music.networks.layers import Conditions, Shape

__all__ = ["Jamming", "JammingDiscriminator", "JammingPosterior"]


class Jamming(nn.Module):
    """The paper's baseline: a generator a track, which share no latent and never hear each other."""

    def __init__(self, config: MusicConfig, shape: Shape) -> None:
        super().__init__()
        self.tracks = nn.ModuleList([Generator(config, shape.alone) for _ in range(shape.tracks)])

    def forward(
        self,
        constant: Tensor,
        moved: Tensor,
        conditions: Conditions,
        given: Tensor | None = None,
        given_tracks: Tensor | None = None,
        *,
        from_noise: bool = True,
    ) -> Tensor:
        """Generates a phrase; see `Generator.forward`. Each track only sees its own part of the latents."""
        parts = zip(self.tracks, *_own_parts(constant, moved, len(self.tracks)), strict=True)
        return torch.cat([track(*own, conditions, from_noise=from_noise) for track, *own in parts], dim=1)

    @property
    def _generators(self) -> list[Generator]:
        return cast("list[Generator]", list(self.tracks))

    def imagine(
        self,
        noise: tuple[Tensor, Tensor],
        constant: Tensor,
        moved: Tensor,
        conditions: Conditions,
        given: Tensor,
        given_tracks: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Generates latents from noise; see `Generator.imagine`."""
        count = len(self.tracks)
        noises = zip(*_own_parts(*noise, count), strict=True)
        found = zip(constant.chunk(count, dim=2), moved.chunk(count, dim=3), strict=True)
        made = [
            track.imagine(own, *latents, conditions, given, given_tracks)
            for track, own, latents in zip(self._generators, noises, found, strict=True)
        ]
        constants, bars, nats = zip(*made, strict=True)
        return torch.cat(constants, dim=1), torch.cat(bars, dim=2), torch.stack(nats).sum(0)

    def find(
        self, constant: Tensor, moved: Tensor, conditions: Conditions, given: Tensor, given_tracks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Reconstructs phrases from the latents of a posterior; see `Generator.find`."""
        count = len(self.tracks)
        parts = zip(self._generators, constant.chunk(count, dim=2), moved.chunk(count, dim=3), strict=True)
        found = [track.find(kept, bars, conditions, given, given_tracks) for track, kept, bars in parts]
        logits, nats = zip(*found, strict=True)
        return torch.cat(logits, dim=1), torch.stack(nats).sum(0)


class JammingDiscriminator(nn.Module):
    """A discriminator per track."""

    def __init__(self, config: MusicConfig, shape: Shape, *, normed: bool = True) -> None:
        super().__init__()
        self.tracks = nn.ModuleList([Discriminator(config, shape.alone, normed=normed) for _ in range(shape.tracks)])

    def forward(self, rolls: Tensor, conditions: Conditions) -> Tensor:
        """Scores each track by itself; see `Discriminator.forward`."""
        judged = [track(rolls[:, index : index + 1], conditions) for index, track in enumerate(self.tracks)]
        return torch.cat(judged, dim=1)


class JammingPosterior(nn.Module):
    """A posterior per track."""

    def __init__(self, config: MusicConfig, shape: Shape) -> None:
        super().__init__()
        self.tracks = nn.ModuleList([Posterior(config, shape.alone) for _ in range(shape.tracks)])

    def forward(self, rolls: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and logarithm of the variance; see `Posterior.forward`. Each track has its own part."""
        found = [track(rolls[:, index : index + 1]) for index, track in enumerate(self.tracks)]
        return torch.cat([constant for constant, _ in found], dim=2), torch.cat([bars for _, bars in found], dim=3)


def _own_parts(constant: Tensor, moved: Tensor, tracks: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Returns each track's own part of the latents of jamming."""
    return constant.chunk(tracks, dim=1), moved.chunk(tracks, dim=2)
