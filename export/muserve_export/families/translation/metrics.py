"""How near a picture comes to the true one, and how well tiles were sewn together. Pure functions on 8-bit pictures."""

from __future__ import annotations

import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from skimage.color import lab2rgb, rgb2lab
from skimage.metrics import structural_similarity

__all__ = [
    "ColourTransfer",
    "absolute_error",
    "class_scores",
    "confusion",
    "seam_ratio",
    "sharpness",
    "similarity",
]

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float64]


def similarity(image: Pixels, truth: Pixels) -> float:
    """Structural similarity, mean over pixels and channels (Wang et al., 2004): Gaussian window of 11, sigma 1.5.

    Args:
        image: [row, column, 3], no side under 11.
        truth: The same shape.
    """
    return float(
        structural_similarity(
            image, truth, gaussian_weights=True, sigma=1.5, use_sample_covariance=False, data_range=255, channel_axis=2
        )
    )


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
    def find(cls, given: Iterable[Pixels], wanted: Iterable[Pixels]) -> ColourTransfer:
        """Takes the statistics of two sets of images."""
        return cls(_colour_statistics(given), _colour_statistics(wanted))

    def __call__(self, image: Pixels) -> Pixels:
        """Changes an image's colours, [row, column, 3]; those that sRGB cannot show are clipped."""
        normed = (rgb2lab(image) - self.given[0]) / np.maximum(self.given[1], 1e-6)
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", message="Conversion from CIE-LAB")  # they are, and it says so
            shares = lab2rgb(normed * self.wanted[1] + self.wanted[0])
        return np.asarray(shares * 255 + 0.5, np.uint8)


def _colour_statistics(images: Iterable[Pixels]) -> tuple[Floats, Floats]:
    """Mean and standard deviation of all pixels in CIELAB, [3] each; holds one image at a time."""
    count, total, squares = 0, np.zeros(3), np.zeros(3)
    for image in images:
        colours = rgb2lab(image).reshape(-1, 3)
        count, total, squares = count + len(colours), total + colours.sum(0), squares + (colours**2).sum(0)
    mean = total / count
    return mean, np.sqrt(np.maximum(squares / count - mean**2, 0))
