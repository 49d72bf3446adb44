"""The published networks: 100 → 256 → 512 → 1024 → 88 with tanh, against 88 → 1024 → 512 → 256 → 1."""

from __future__ import annotations

from itertools import pairwise

from torch import Tensor, nn

from muserve_export.families.music.config import MusicConfig

__all__ = ["DenseDiscriminator", "DenseGenerator"]


class DenseGenerator(nn.Module):
    """Noise to one chord: dense layers with ReLU, then tanh."""

    def __init__(self, config: MusicConfig) -> None:
        super().__init__()
        sizes = (config.constant_latent_size, *config.generator_widths)
        self.layers = nn.Sequential(*_dense(sizes), nn.Linear(sizes[-1], config.pitches), nn.Tanh())

    def forward(self, latent: Tensor) -> Tensor:
        """Returns chords, [batch, pitch] in [-1, 1], from standard normal noise [batch, latent_size]."""
        chords: Tensor = self.layers(latent)
        return chords


class DenseDiscriminator(nn.Module):
    """One chord to a logit: dense layers with ReLU. The published sigmoid is part of the loss."""

    def __init__(self, config: MusicConfig) -> None:
        super().__init__()
        sizes = (config.pitches, *config.discriminator_widths)
        self.layers = nn.Sequential(*_dense(sizes), nn.Linear(sizes[-1], 1))

    def forward(self, chords: Tensor) -> Tensor:
        """Returns logits, [batch, 1], of chords [batch, pitch] in [-1, 1]."""
        logits: Tensor = self.layers(chords)
        return logits


def _dense(sizes: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers
