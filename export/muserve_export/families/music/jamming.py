"""The paper's baseline, jamming: networks a track, which share no latent and never hear each other."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.discriminators import Discriminator, LatentDiscriminator
from muserve_export.families.music.generator import Generator, Posterior
from muserve_export.families.music.layers import Conditions, Shape

__all__ = ["Jamming", "JammingDiscriminator", "JammingLatentDiscriminator", "JammingPosterior"]


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
        """Writes a phrase; see `Generator.forward`. Each track has its own part of the latents and hears nothing."""
        parts = zip(self.tracks, *_own_parts(constant, moved, len(self.tracks)), strict=True)
        return torch.cat([track(*own, conditions, from_noise=from_noise) for track, *own in parts], dim=1)

    def imagine(
        self, constant: Tensor, moved: Tensor, conditions: Conditions, given: Tensor, given_tracks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns latents made of noise; see `Generator.imagine`."""
        parts = zip(self.tracks, *_own_parts(constant, moved, len(self.tracks)), strict=True)
        made = [track.imagine(*own, conditions, given, given_tracks) for track, *own in parts]  # type: ignore[operator]
        constants, bars, heard = zip(*made, strict=True)
        return torch.cat(constants, dim=1), torch.cat(bars, dim=2), heard[0]


class JammingDiscriminator(nn.Module):
    """A discriminator a track."""

    def __init__(self, config: MusicConfig, shape: Shape, *, normed: bool = True) -> None:
        super().__init__()
        self.tracks = nn.ModuleList([Discriminator(config, shape.alone, normed=normed) for _ in range(shape.tracks)])

    def forward(self, rolls: Tensor, conditions: Conditions) -> Tensor:
        """Judges each track by itself; see `Discriminator.forward`."""
        judged = [track(rolls[:, index : index + 1], conditions) for index, track in enumerate(self.tracks)]
        return torch.cat(judged, dim=1)


class JammingLatentDiscriminator(nn.Module):
    """A discriminator of latents a track."""

    def __init__(self, config: MusicConfig, shape: Shape) -> None:
        super().__init__()
        self.tracks = nn.ModuleList([LatentDiscriminator(config, shape.alone, heard=0) for _ in range(shape.tracks)])

    def forward(self, constant: Tensor, moved: Tensor, conditions: Conditions, heard: Tensor) -> Tensor:
        """Judges each track's latents by themselves; see `LatentDiscriminator.forward`."""
        parts = zip(self.tracks, *_own_parts(constant, moved, len(self.tracks)), strict=True)
        judged = [track(*own, conditions, heard) for track, *own in parts]
        return torch.stack(judged, dim=2).mean(2)


class JammingPosterior(nn.Module):
    """A posterior a track."""

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
