"""The networks: dense ones as in the first GAN that most people write, and convolutional ones that know labels.

Images are in [-1, 1]. Every generator takes (latent, label, truncation) and every discriminator (image, label), so that
training and export need not ask which one they have; those without labels leave the label out of their computation.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate, relu

from muserve_export.families.digits.config import DigitsConfig

__all__ = [
    "ConvolutionalDiscriminator",
    "ConvolutionalGenerator",
    "DenseDiscriminator",
    "DenseGenerator",
    "make_networks",
]

_LABEL_SHARE = 0.25


def make_networks(config: DigitsConfig, classes: int) -> tuple[nn.Module, nn.Module]:
    """Makes the generator and the discriminator that a configuration asks for.

    Args:
        config: The architecture and its sizes.
        classes: Number of classes in the data.
    """
    if config.architecture == "dense":
        return DenseGenerator(config), DenseDiscriminator(config)
    return ConvolutionalGenerator(config, classes), ConvolutionalDiscriminator(config, classes)


class DenseGenerator(nn.Module):
    """Noise to images, without labels (Goodfellow et al., "Generative Adversarial Nets", 2014)."""

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__()
        self.shape = (config.channels, config.image_size, config.image_size)
        pixels = config.channels * config.image_size**2
        sizes = (config.latent_size, *config.generator_widths)
        self.layers = nn.Sequential(*_dense(sizes, nn.ReLU), nn.Linear(sizes[-1], pixels), nn.Tanh())

    def forward(self, latent: Tensor, label: Tensor | None = None, truncation: Tensor | None = None) -> Tensor:
        """Draws images.

        Args:
            latent: Standard normal, [batch, latent_size].
            label: Not used.
            truncation: Not used.

        Returns:
            [batch, channel, height, width] in [-1, 1].
        """
        image: Tensor = self.layers(latent).reshape(-1, *self.shape)
        return image


class DenseDiscriminator(nn.Module):
    """Images to logits: above zero for real. The sigmoid of the published network is inside the loss."""

    def __init__(self, config: DigitsConfig) -> None:
        super().__init__()
        sizes = (config.channels * config.image_size**2, *config.discriminator_widths)
        self.layers = nn.Sequential(*_dense(sizes, lambda: nn.LeakyReLU(config.leaky_slope)), nn.Linear(sizes[-1], 1))

    def forward(self, image: Tensor, label: Tensor | None = None) -> Tensor:
        """Judges images.

        Args:
            image: [batch, channel, height, width] in [-1, 1].
            label: Not used.

        Returns:
            Logits, [batch].
        """
        logits: Tensor = self.layers(torch.flatten(image, 1)).squeeze(1)
        return logits


class ConvolutionalGenerator(nn.Module):
    """Noise to images: residual blocks whose batch norms are set by the label.

    The generator of Brock et al., "Large Scale GAN Training for High Fidelity Natural Image Synthesis", 2019, at the
    size that digits need: a quarter of the image's height, then doubled twice.
    """

    def __init__(self, config: DigitsConfig, classes: int) -> None:
        super().__init__()
        width = config.generator_channels
        self.side = config.image_size // 4
        self.embedding = nn.Embedding(classes, config.latent_size)
        self.ground = nn.Linear(2 * config.latent_size, 4 * width * self.side**2)
        self.first = _UpBlock(4 * width, 2 * width, config.latent_size)
        self.second = _UpBlock(2 * width, width, config.latent_size)
        self.last = nn.Sequential(
            nn.BatchNorm2d(width), nn.ReLU(), nn.Conv2d(width, config.channels, 3, padding=1), nn.Tanh()
        )

    def forward(self, latent: Tensor, label: Tensor, truncation: Tensor) -> Tensor:
        """Draws images.

        Args:
            latent: Standard normal, [batch, latent_size].
            label: Index of the class, int64 [batch].
            truncation: Scale of the noise, above 0 up to 1, [batch].

        Returns:
            [batch, channel, height, width] in [-1, 1].
        """
        style = self.embedding(label)
        # Noise makes most of the ground: where the label had as much of it, each class became one picture.
        mixed = torch.cat([latent * truncation[:, None], _LABEL_SHARE * style], dim=1)
        ground = self.ground(mixed).reshape(-1, self.first.channels, self.side, self.side)
        image: Tensor = self.last(self.second(self.first(ground, style), style))
        return image


class ConvolutionalDiscriminator(nn.Module):
    """Images and labels to logits: strided convolutions with batch norm, and a projection of the label.

    Radford et al., "Unsupervised Representation Learning with Deep Convolutional Generative Adversarial Networks",
    2016; Miyato and Koyama, "cGANs with Projection Discriminator", 2018. The batch norm shows it many images at once,
    which betrays a generator that draws one picture a class: real and generated images must not share a batch.
    """

    def __init__(self, config: DigitsConfig, classes: int) -> None:
        super().__init__()
        width = config.discriminator_channels
        self.layers = nn.Sequential(
            nn.Conv2d(config.channels, width, 4, stride=2, padding=1),
            nn.LeakyReLU(config.leaky_slope),
            nn.Conv2d(width, 2 * width, 4, stride=2, padding=1, bias=False),
            nn.BatchNorm2d(2 * width),
            nn.LeakyReLU(config.leaky_slope),
            nn.Conv2d(2 * width, 4 * width, 3, padding=1, bias=False),
            nn.BatchNorm2d(4 * width),
            nn.LeakyReLU(config.leaky_slope),
            nn.Flatten(),
        )
        features = 4 * width * (config.image_size // 4) ** 2
        self.head = nn.Linear(features, 1)
        self.projection = nn.Embedding(classes, features)
        nn.init.normal_(self.projection.weight, std=4 * features**-0.5)

    def forward(self, image: Tensor, label: Tensor) -> Tensor:
        """Judges images.

        Args:
            image: All real or all generated, [batch, channel, height, width] in [-1, 1].
            label: Index of the class, int64 [batch].

        Returns:
            Logits, [batch].
        """
        features = self.layers(image)
        logits: Tensor = self.head(features).squeeze(1) + (features * self.projection(label)).sum(1)
        return logits


class _ConditionalNorm(nn.Module):
    """Batch norm whose gain and bias come from the condition."""

    def __init__(self, channels: int, condition: int) -> None:
        super().__init__()
        self.norm = nn.BatchNorm2d(channels, affine=False)
        self.gain = nn.Linear(condition, channels)
        self.bias = nn.Linear(condition, channels)
        for layer in (self.gain, self.bias):
            nn.init.normal_(layer.weight, std=0.1)
            nn.init.zeros_(layer.bias)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        gain, bias = self.gain(condition)[:, :, None, None], self.bias(condition)[:, :, None, None]
        normed: Tensor = self.norm(features) * (1 + gain) + bias
        return normed


class _UpBlock(nn.Module):
    """Doubles height and width."""

    def __init__(self, channels: int, out_channels: int, condition: int) -> None:
        super().__init__()
        self.channels = channels
        self.norms = nn.ModuleList([_ConditionalNorm(channels, condition), _ConditionalNorm(out_channels, condition)])
        self.convolutions = nn.ModuleList(
            [nn.Conv2d(channels, out_channels, 3, padding=1), nn.Conv2d(out_channels, out_channels, 3, padding=1)]
        )
        self.shortcut = nn.Conv2d(channels, out_channels, 1)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        grown = interpolate(relu(self.norms[0](features, condition)), scale_factor=2.0)
        grown = self.convolutions[0](grown)
        grown = self.convolutions[1](relu(self.norms[1](grown, condition)))
        # A 1×1 convolution and doubling commute; this order costs a quarter.
        result: Tensor = grown + interpolate(self.shortcut(features), scale_factor=2.0)
        return result


def _dense(sizes: Sequence[int], activation: Callable[[], nn.Module]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), activation()]
    return layers
