"""The networks: generators that translate an image of any size, discriminators that judge patches.

Images are in [-1, 1]. `LightGenerator` is what ships: what it says of a pixel depends on the pixels around it alone, so
that an image may be cut into tiles. `ResnetGenerator` is the published one: its instance norm looks at the whole image.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, interpolate

from muserve_export.families.translation.config import TranslationConfig

__all__ = ["LightGenerator", "PatchDiscriminator", "ResnetGenerator", "make_discriminator", "make_generator"]

_FIRST_SCALE = 0.1


def make_generator(config: TranslationConfig) -> nn.Module:
    """Makes a generator of either direction, as a configuration asks for."""
    if config.architecture == "resnet":
        generator: nn.Module = ResnetGenerator(config.generator_channels, config.generator_blocks)
        return generator.apply(_draw_published_weights)
    return LightGenerator(config.generator_channels, config.generator_blocks)


def make_discriminator(config: TranslationConfig) -> nn.Module:
    """Makes a discriminator of either domain, as a configuration asks for."""
    discriminator = PatchDiscriminator(config.discriminator_channels, config.discriminator_layers)
    return discriminator.apply(_draw_published_weights)


class LightGenerator(nn.Module):
    """Two halvings, residual blocks, two doublings with the encoder's features added.

    The blocks' layer norm takes its statistics over the channels of one pixel, as that of Liu et al., "A ConvNet for
    the 2020s", 2022, and nothing else looks further than a convolution does: `radius` pixels around a pixel decide what
    it becomes. Nearest-neighbour doubling before a convolution leaves no checkerboard (Odena et al., 2016).
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        self.first = _convolution(3, channels, 3)
        self.halvings = nn.ModuleList(
            [_convolution(channels, 2 * channels, 3, stride=2), _convolution(2 * channels, 4 * channels, 3, stride=2)]
        )
        # Every second block looks twice as far, so that a place's surroundings count at no cost.
        self.body = nn.Sequential(*(_PixelNormBlock(4 * channels, 1 + index % 2) for index in range(blocks)))
        self.narrowings = nn.ModuleList(
            [nn.Conv2d(4 * channels, 2 * channels, 1), nn.Conv2d(2 * channels, channels, 1)]
        )
        self.smoothings = nn.ModuleList(
            [_convolution(2 * channels, 2 * channels, 3), _convolution(channels, channels, 3)]
        )
        self.last = _convolution(channels, 3, 3)

    @property
    def radius(self) -> int:
        """How many pixels a pixel of the output looks at most in each direction.

        The first layer and the last 1 each, the halvings 1 and 2, the blocks 4 or 8 at a quarter of the size, the
        smoothings 2 and 1; nearest-neighbour doublings move by at most 2 and 1.
        """
        blocks = sum(4 * block.dilation for block in self.body if isinstance(block, _PixelNormBlock))
        return 1 + (1 + 2) + blocks + (2 + 1) + (2 + 1) + 1

    def forward(self, image: Tensor) -> Tensor:
        """Translates images.

        Args:
            image: [batch, 3, height, width] in [-1, 1]; height and width are multiples of 4.

        Returns:
            The same shape, in [-1, 1].
        """
        full = gelu(self.first(image))  # [batch, channels, height, width]
        half = gelu(self.halvings[0](full))
        quarter = self.body(self.halvings[1](half))
        half = gelu(interpolate(self.narrowings[0](quarter), scale_factor=2.0) + half)
        half = gelu(self.smoothings[0](half))
        full = gelu(interpolate(self.narrowings[1](half), scale_factor=2.0) + full)
        full = gelu(self.smoothings[1](full))
        return torch.tanh(self.last(full))


class ResnetGenerator(nn.Module):
    """The published generator (Zhu et al., "Unpaired Image-to-Image Translation", 2017, appendix 7.2).

    c7s1-64, d128, d256, R256 × 6 or 9, u128, u64, c7s1-3, as in the authors' code: instance norm without gains, and
    transposed convolutions.
    """

    def __init__(self, channels: int, blocks: int) -> None:
        super().__init__()
        layers: list[nn.Module] = [nn.ReflectionPad2d(3), nn.Conv2d(3, channels, 7), *_normed(channels)]
        for width in (channels, 2 * channels):
            layers += [nn.Conv2d(width, 2 * width, 3, stride=2, padding=1), *_normed(2 * width)]
        layers += [_ResnetBlock(4 * channels) for _ in range(blocks)]
        for width in (4 * channels, 2 * channels):
            up = nn.ConvTranspose2d(width, width // 2, 3, stride=2, padding=1, output_padding=1)
            layers += [up, *_normed(width // 2)]
        layers += [nn.ReflectionPad2d(3), nn.Conv2d(channels, 3, 7), nn.Tanh()]
        self.layers = nn.Sequential(*layers)

    def forward(self, image: Tensor) -> Tensor:
        """Translates images.

        Args:
            image: [batch, 3, height, width] in [-1, 1]; height and width are multiples of 4.

        Returns:
            The same shape, in [-1, 1].
        """
        translated: Tensor = self.layers(image)
        return translated


class PatchDiscriminator(nn.Module):
    """Judges each patch of an image by itself (Isola et al., "Image-to-Image Translation with cGANs", 2017, 6.1.2)."""

    def __init__(self, channels: int, layers: int) -> None:
        super().__init__()
        widths = [channels * min(2**index, 8) for index in range(layers + 1)]
        stack: list[nn.Module] = [nn.Conv2d(3, channels, 4, stride=2, padding=1), nn.LeakyReLU(0.2)]
        for index, (before, width) in enumerate(pairwise(widths), start=1):
            stack += [
                nn.Conv2d(before, width, 4, stride=2 if index < layers else 1, padding=1),
                nn.InstanceNorm2d(width),
                nn.LeakyReLU(0.2),
            ]
        self.layers = nn.Sequential(*stack, nn.Conv2d(widths[-1], 1, 4, padding=1))

    def forward(self, image: Tensor) -> Tensor:
        """Judges images.

        Args:
            image: [batch, 3, height, width] in [-1, 1].

        Returns:
            Near 1 for real, near 0 for generated: [batch, 1, patch row, patch column].
        """
        scores: Tensor = self.layers(image)
        return scores


class _PixelNormBlock(nn.Module):
    """A 3×3 convolution, a norm over the channels of each pixel, a 1×1 convolution; added to what came in."""

    def __init__(self, channels: int, dilation: int) -> None:
        super().__init__()
        self.dilation = dilation
        self.around = _convolution(channels, channels, 3, dilation=dilation)
        self.norm = nn.LayerNorm(channels)
        self.mix = nn.Conv2d(channels, channels, 1)
        # Each block begins as a small change, so that gradients reach the first layers from the first step on.
        self.scale = nn.Parameter(torch.full((channels, 1, 1), _FIRST_SCALE))

    def forward(self, features: Tensor) -> Tensor:
        found = self.norm(self.around(features).permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        changed: Tensor = features + self.scale * self.mix(gelu(found))
        return changed


class _ResnetBlock(nn.Module):
    """Two 3×3 convolutions with instance norm, added to what came in."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.layers = nn.Sequential(
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), *_normed(channels),
            nn.ReflectionPad2d(1), nn.Conv2d(channels, channels, 3), nn.InstanceNorm2d(channels),
        )  # fmt: skip

    def forward(self, features: Tensor) -> Tensor:
        changed: Tensor = features + self.layers(features)
        return changed


def _convolution(before: int, after: int, size: int, *, stride: int = 1, dilation: int = 1) -> nn.Conv2d:
    """A convolution that keeps height and width, or halves them; borders are mirrored."""
    padding = dilation * (size // 2)
    return nn.Conv2d(before, after, size, stride=stride, padding=padding, padding_mode="reflect", dilation=dilation)


def _normed(channels: int) -> Sequence[nn.Module]:
    return nn.InstanceNorm2d(channels), nn.ReLU()


def _draw_published_weights(module: nn.Module) -> None:
    """Normal with standard deviation 0.02, biases 0: as published."""
    if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
        nn.init.normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)
