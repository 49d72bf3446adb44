"""How near a picture comes to the true one, and how well tiles were sewn together. Pure functions on 8-bit pictures."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch.nn.functional import conv2d

__all__ = [
    "ColourTransfer",
    "absolute_error",
    "bootstrap",
    "class_scores",
    "confusion",
    "from_lab",
    "seam_ratio",
    "sharpness",
    "signal_to_noise_db",
    "similarity",
]

from muserve_export.families.translation.classes import to_lab

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]

_WINDOW, _SIGMA = 11, 1.5
_DRAWS, _SEED = 2000, 0


def similarity(image: Pixels, truth: Pixels) -> float:
    """Structural similarity, mean over pixels and channels (Wang et al., 2004): Gaussian window of 11, sigma 1.5.

    Args:
        image: [row, column, 3], no side under 11.
        truth: The same shape.
    """
    positions = torch.arange(_WINDOW, dtype=torch.float64) - _WINDOW // 2
    weights = torch.exp(-(positions**2) / (2 * _SIGMA**2))
    weights = weights / weights.sum()

    def blur(values: torch.Tensor) -> torch.Tensor:  # [channel, 1, row, column]
        return conv2d(conv2d(values, weights.view(1, 1, -1, 1)), weights.view(1, 1, 1, -1))

    first, second = (torch.from_numpy(np.array(part, np.float64)).permute(2, 0, 1)[:, None] for part in (image, truth))
    means = blur(first), blur(second)
    variances = blur(first**2) - means[0] ** 2, blur(second**2) - means[1] ** 2
    covariance = blur(first * second) - means[0] * means[1]
    steady, contrast = (0.01 * 255) ** 2, (0.03 * 255) ** 2
    above = (2 * means[0] * means[1] + steady) * (2 * covariance + contrast)
    below = (means[0] ** 2 + means[1] ** 2 + steady) * (variances[0] + variances[1] + contrast)
    return float((above / below).mean())


def absolute_error(image: Pixels, truth: Pixels) -> float:
    """Mean absolute difference, 0 to 255."""
    return float(np.abs(image.astype(np.float64) - truth).mean())


def sharpness(image: Pixels) -> float:
    """Mean absolute difference of neighbouring pixels, in both directions."""
    values = image.astype(np.float64)
    return float(sum(np.abs(np.diff(values, axis=axis)).mean() for axis in (0, 1)) / 2)


def confusion(found: NDArray[np.int64], true: NDArray[np.int64], classes: int) -> NDArray[np.int64]:
    """Counts pixels by true class and found class: [true class, found class]."""
    return np.bincount((true * classes + found).ravel(), minlength=classes**2).reshape(classes, classes)


def class_scores(counts: NDArray[np.int64]) -> tuple[float, float, float]:
    """Pixel accuracy, class accuracy and mean intersection over union (Long et al., 2015, section 5).

    Args:
        counts: See `confusion`. Classes that no true pixel has do not count, but what is mistaken for them is missed.
    """
    hits, truths, founds = np.diag(counts), counts.sum(1), counts.sum(0)
    known = truths > 0
    hits, truths, founds = hits[known], truths[known], founds[known]
    return (
        float(hits.sum() / counts.sum()),
        float((hits / truths).mean()),
        float((hits / (truths + founds - hits)).mean()),
    )


def bootstrap(count: int, figure: Callable[[NDArray[np.int64]], float]) -> tuple[float, float]:
    """The interval that holds a figure in 95 % of draws of as many places with replacement (Efron, 1979).

    Args:
        count: Number of places.
        figure: Computes the figure of some places, given by index.
    """
    random = np.random.default_rng(_SEED)
    figures = [figure(random.integers(0, count, count)) for _ in range(_DRAWS)]
    low, high = np.percentile(figures, [2.5, 97.5])
    return float(low), float(high)


def signal_to_noise_db(image: Pixels, truth: Pixels) -> float:
    """Peak signal-to-noise ratio in dB; 100 where there is no difference."""
    squared = float(((image.astype(np.float64) - truth) ** 2).mean())
    return 10 * float(np.log10(255**2 / squared)) if squared else 100.0


def seam_ratio(image: Pixels, seams: Sequence[int]) -> float:
    """Mean step across seams, as a share of that between all other neighbours.

    Args:
        image: [row, column, 3].
        seams: The pixels, down and across, before which a seam lies.
    """
    values = image.astype(np.float64)
    across, beside = [], []
    for axis in (0, 1):
        steps = np.abs(np.diff(values, axis=axis)).mean(axis=(1 - axis, 2))  # step i lies between pixels i and i + 1
        is_seam = np.isin(np.arange(1, len(steps) + 1), seams)
        across.append(steps[is_seam])
        beside.append(steps[~is_seam])
    return float(np.concatenate(across).mean() / np.concatenate(beside).mean())


@dataclass(frozen=True)
class ColourTransfer:
    """Gives an image the mean and spread of another domain's colours (Reinhard et al., 2001), in CIELAB.

    The statistics are those of the training images of the two domains, so that nothing is known of the single image.
    """

    given: tuple[Floats, Floats]
    """Mean and standard deviation of the images' domain, [3] each."""
    wanted: tuple[Floats, Floats]
    """Of the other."""

    @classmethod
    def find(cls, given: Sequence[Pixels], wanted: Sequence[Pixels]) -> ColourTransfer:
        """Takes the statistics of two sets of images."""
        first, second = (np.concatenate([to_lab(image).reshape(-1, 3) for image in part]) for part in (given, wanted))
        return cls((first.mean(0), first.std(0)), (second.mean(0), second.std(0)))

    def __call__(self, image: Pixels) -> Pixels:
        """Changes an image's colours, [row, column, 3]."""
        normed = (to_lab(image) - self.given[0]) / np.maximum(self.given[1], 1e-6)
        return from_lab(normed * self.wanted[1] + self.wanted[0])


def from_lab(colours: Floats) -> Pixels:
    """Converts CIELAB under D65 to sRGB; what sRGB cannot show is clipped: [..., 3]."""
    y = (colours[..., 0] + 16) / 116
    roots = np.stack([y + colours[..., 1] / 500, y, y - colours[..., 2] / 200], axis=-1)
    xyz = np.where(roots > 6 / 29, roots**3, 3 * (6 / 29) ** 2 * (roots - 4 / 29)) * np.array([0.95047, 1.0, 1.08883])
    to_linear = np.array(
        [[3.2404542, -1.5371385, -0.4985314], [-0.9692660, 1.8760108, 0.0415560], [0.0556434, -0.2040259, 1.0572252]]
    )
    linear = np.clip(xyz @ to_linear.T, 0, 1)
    shares = np.where(linear <= 0.0031308, 12.92 * linear, 1.055 * linear ** (1 / 2.4) - 0.055)
    pixels: Pixels = np.clip(shares * 255 + 0.5, 0, 255).astype(np.uint8)
    return pixels
