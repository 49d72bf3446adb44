"""Colours as people see them: between hex codes and OKLab, where equal distances look equally different.

Björn Ottosson, "A perceptual color space for image processing", 2020.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

__all__ = ["COLOURS", "from_hex", "swatch", "to_hex"]

COLOURS = 5
"""Colours of a palette."""
_BAR, _HEIGHT = 40, 40
_TO_LMS = np.array(
    [[0.4122214708, 0.5363325363, 0.0514459929], [0.2119034982, 0.6806995451, 0.1073969566],
     [0.0883024619, 0.2817188376, 0.6299787005]]
)  # fmt: skip
_TO_LAB = np.array(
    [[0.2104542553, 0.7936177850, -0.0040720468], [1.9779984951, -2.4285922050, 0.4505937099],
     [0.0259040371, 0.7827717662, -0.8086757660]]
)  # fmt: skip


def from_hex(colours: Sequence[str]) -> NDArray[np.float32]:
    """Reads hex codes: "#1b2a41" and so on, as OKLab, float32 [colour, 3].

    Raises:
        ValueError: One is no hex code.
    """
    rgb = np.array([[int(code.removeprefix("#")[at : at + 2], 16) for at in (0, 2, 4)] for code in colours]) / 255
    linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
    lab: NDArray[np.float32] = (np.cbrt(linear @ _TO_LMS.T) @ _TO_LAB.T).astype(np.float32)
    return lab


def to_hex(lab: NDArray[np.float32]) -> list[str]:
    """Writes OKLab colours, [colour, 3], as hex codes; what no screen shows becomes the nearest that it does."""
    cubes = lab.astype(np.float64) @ np.linalg.inv(_TO_LAB).T
    linear = np.clip(cubes**3 @ np.linalg.inv(_TO_LMS).T, 0, 1)
    rgb = np.where(linear <= 0.0031308, linear * 12.92, 1.055 * linear ** (1 / 2.4) - 0.055)
    return ["#" + "".join(f"{round(float(part) * 255):02x}" for part in colour) for colour in rgb]


def swatch(colours: Sequence[str]) -> NDArray[np.uint8]:
    """Draws hex codes side by side: uint8 [40, 40 * colour, 3]."""
    row = np.array([[int(code[at : at + 2], 16) for at in (1, 3, 5)] for code in colours], dtype=np.uint8)
    return np.broadcast_to(row.repeat(_BAR, axis=0), (_HEIGHT, _BAR * len(colours), 3))
