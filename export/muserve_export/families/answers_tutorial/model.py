"""The published networks: dense layers with leaky ReLU."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from torch import nn

__all__ = ["DISCRIMINATOR_SIZES", "GENERATOR_SIZES", "LATENT_SIZE", "make_networks"]

LATENT_SIZE = 100
GENERATOR_SIZES = (LATENT_SIZE, 128, 256, 512, 1024, 2048, 1)
DISCRIMINATOR_SIZES = (1, 512, 256, 128, 1)


def make_networks() -> tuple[nn.Module, nn.Module]:
    """Builds generator and discriminator. The discriminator returns logits: its sigmoid is part of the loss."""
    return nn.Sequential(*_dense(GENERATOR_SIZES), nn.Tanh()), nn.Sequential(*_dense(DISCRIMINATOR_SIZES))


def _dense(sizes: Sequence[int]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.LeakyReLU(0.2)]
    return layers[:-1]
