"""Differentiable augmentation for discriminators on little data.

Zhao et al., "Differentiable Augmentation for Data-Efficient GAN Training", 2020: real and generated images go through
the same random changes, and gradients go through them to the generator.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import pad

__all__ = ["cutout", "translate"]


def translate(images: Tensor, share: float, *, ground: float) -> Tensor:
    """Moves each image by its own whole number of pixels.

    Args:
        images: [image, channel, height, width].
        share: Largest move, as a share of height and width.
        ground: Value of the pixels that come in.

    Returns:
        The same shape.
    """
    count, _, height, width = images.shape
    most_down, most_right = round(height * share), round(width * share)
    padded = pad(images, (most_right, most_right, most_down, most_down), value=ground)
    down = torch.randint(0, 2 * most_down + 1, (count, 1), device=images.device)
    right = torch.randint(0, 2 * most_right + 1, (count, 1), device=images.device)
    rows = (down + torch.arange(height, device=images.device))[:, None, :, None]
    columns = (right + torch.arange(width, device=images.device))[:, None, None, :]
    image = torch.arange(count, device=images.device)[:, None, None, None]
    channel = torch.arange(images.shape[1], device=images.device)[None, :, None, None]
    return padded[image, channel, rows, columns]


def cutout(images: Tensor, share: float, *, ground: float) -> Tensor:
    """Blanks a square of each image.

    Args:
        images: [image, channel, height, width].
        share: Side of the square, as a share of height and width. It may lie partly outside.
        ground: Value of the blanked pixels.

    Returns:
        The same shape.
    """
    count, _, height, width = images.shape
    inside = torch.ones(count, dtype=torch.bool, device=images.device)[:, None, None]
    for axis, size in ((1, height), (2, width)):
        half = size * share / 2
        centre = torch.rand(count, device=images.device) * size
        positions = torch.arange(size, device=images.device) + 0.5
        near = (positions[None] - centre[:, None]).abs() <= half
        inside = inside & (near[:, :, None] if axis == 1 else near[:, None, :])
    return torch.where(inside[:, None], torch.full_like(images, ground), images)
