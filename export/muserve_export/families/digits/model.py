"""A generator and a discriminator of dense layers (Goodfellow et al., "Generative Adversarial Nets", 2014).

Dense layers and LeakyReLU as in the first GAN that most people write; images are in [-1, 1].
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from muserve_export.families.digits.config import DigitsConfig

__all__ = ["Discriminator", "Generator"]


class Generator(nn.Module):
    """Noise to images."""

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__()
        self.shape = (config.channels, config.image_size, config.image_size)
        pixels = config.channels * config.image_size**2
        sizes = (config.latent_size, *config.generator_widths)
        self.layers = nn.Sequential(*_dense(sizes, nn.ReLU), nn.Linear(sizes[-1], pixels), nn.Tanh())

    def forward(self, latent: Tensor) -> Tensor:
        """Draws images.

        Args:
            latent: Standard normal, [batch, latent_size].

        Returns:
            [batch, channel, height, width] in [-1, 1].
        """
        image: Tensor = self.layers(latent).reshape(-1, *self.shape)
        return image


class Discriminator(nn.Module):
    """Images to logits: above zero for real. The sigmoid of the published network is inside the loss."""

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__()
        sizes = (config.channels * config.image_size**2, *config.discriminator_widths)
        self.layers = nn.Sequential(*_dense(sizes, lambda: nn.LeakyReLU(config.leaky_slope)), nn.Linear(sizes[-1], 1))

    def forward(self, image: Tensor) -> Tensor:
        """Judges images.

        Args:
            image: [batch, channel, height, width] in [-1, 1].

        Returns:
            Logits, [batch].
        """
        logits: Tensor = self.layers(torch.flatten(image, 1)).squeeze(1)
        return logits


def _dense(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), activation()]
    return layers
