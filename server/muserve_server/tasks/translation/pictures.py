"""What goes into an answer: PNG files, pictures side by side, and how far two images are apart. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["mean_absolute_error", "side_by_side", "side_by_side_width", "with_alpha"]

Pixels = NDArray[np.uint8]

_GAP = 8
_ROWS_AT_ONCE = 128


def with_alpha(rgb: Pixels, alpha: Pixels | None) -> Pixels:
    """Returns [height, width, 3] or, with transparency, [height, width, 4]."""
    return rgb if alpha is None else np.dstack([rgb, alpha])


def side_by_side_width(width: int, pictures: int) -> int:
    """Returns the width of so many pictures side by side."""
    return pictures * (width + _GAP) - _GAP


def side_by_side(pictures: Sequence[Pixels], alpha: Pixels | None) -> Pixels:
    """Lays pictures of one size out from left to right, 8 pixels apart on white, or on nothing if they have alpha.

    Args:
        pictures: Each [height, width, 3].
        alpha: [height, width], of each of them; or None.

    Returns:
        [height, width, 3], or 4 with alpha.
    """
    height, width = pictures[0].shape[:2]
    sheet = np.full((height, side_by_side_width(width, len(pictures)), 3 if alpha is None else 4), 255, np.uint8)
    for index, picture in enumerate(pictures):
        left = index * (width + _GAP)
        sheet[:, left : left + width, :3] = picture
        if alpha is not None:
            sheet[:, left : left + width, 3] = alpha
            sheet[:, left + width : left + width + _GAP, 3] = 0
    return sheet


def mean_absolute_error(first: Pixels, second: Pixels, alpha: Pixels | None) -> float:
    """Returns the mean absolute difference over red, green and blue of pixels that are not fully transparent.

    Args:
        first: [height, width, 3].
        second: The same.
        alpha: [height, width]; None where every pixel is opaque.

    Returns:
        0 up to 255; 0 if every pixel is fully transparent.
    """
    total = values = 0
    for start in range(0, len(first), _ROWS_AT_ONCE):  # differences take more room than images
        rows = slice(start, start + _ROWS_AT_ONCE)
        distances = np.abs(first[rows].astype(np.int16) - second[rows])
        if alpha is not None:
            distances = distances[alpha[rows] > 0]
        total += int(distances.sum(dtype=np.int64))
        values += distances.size
    return total / values if values else 0.0
