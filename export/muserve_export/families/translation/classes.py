"""What a pixel of a map shows, by its colour: a fixed rule, written into the data folder as classes.json.

A folder of one's own may have such a file too: names of classes, each with a few typical colours.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from skimage.color import rgb2lab

from muserve_export.errors import DataError

__all__ = ["RELIEF", "MapClasses"]

FILE = "classes.json"
# Relief is drawn by light and shade: of the three coordinates of a colour, lightness says least of what is there.
_LIGHTNESS_WEIGHT = 0.3
_CHUNK = 65_536

RELIEF: Mapping[str, tuple[tuple[int, int, int], ...]] = {
    "deep water": ((121, 168, 206), (138, 180, 213)),
    "shallow water": ((161, 195, 223), (184, 209, 231), (202, 220, 237)),
    "ice": ((196, 207, 228), (212, 217, 233), (226, 231, 242), (232, 241, 250), (240, 241, 248)),
    "green lowland": ((127, 173, 152), (140, 174, 159), (167, 187, 167)),
    "plain": ((142, 172, 167), (162, 178, 171), (162, 184, 191)),
    "dry or high land": ((208, 198, 180), (178, 170, 159), (189, 170, 152), (184, 187, 173), (212, 212, 208)),
}
"""Classes of the relief map: the middles of 16 clusters of the colours of its training regions (k-means), named after
where they lie; and beside them the colours of ice in the shade, of ice shelves, of Antarctica's middle and of Tibet."""


@dataclass(frozen=True)
class MapClasses:
    """Classes of typical colours: a pixel is of the class that has the colour nearest to its own."""

    domain: str
    """A or B: which of the two sides they are of."""
    colours: Mapping[str, tuple[tuple[int, int, int], ...]]
    """Class to its typical colours in RGB."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of their index."""
        return tuple(self.colours)

    @classmethod
    def read(cls, folder: Path) -> MapClasses | None:
        """Reads the classes of a data folder; None if it has none.

        Raises:
            DataError: The file is not what `write` writes.
        """
        path = folder / FILE
        if not path.exists():
            return None
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            colours = {
                str(name): tuple((int(red), int(green), int(blue)) for red, green, blue in own)
                for name, own in content["classes"].items()
            }
            domain = content["domain"]
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(
                f"{path}: cannot be read as classes of a map ({error}); it must have a domain, A or B, and classes, "
                'each with a list of colours: {"domain": "B", "classes": {"water": [[121, 168, 206]]}}'
            ) from error
        values = [value for own in colours.values() for colour in own for value in colour]
        if domain not in ("A", "B") or not all(colours.values()) or not all(0 <= value <= 255 for value in values):
            raise DataError(f"{path}: must have a domain, A or B, and classes with colours of 0 up to 255")
        return cls(domain, colours)

    def write(self, folder: Path) -> None:
        """Writes classes.json."""
        content = json.dumps({"domain": self.domain, "classes": self.colours}, indent=1)
        (folder / FILE).write_text(content + "\n", encoding="utf-8")

    def label(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Says of what class each pixel is, by CIELAB with less weight on lightness.

        Args:
            pixels: [..., 3].

        Returns:
            Index into `names`, [...].
        """
        typical = _weighted(np.array([colour for own in self.colours.values() for colour in own], np.uint8))
        owner = np.array([index for index, own in enumerate(self.colours.values()) for _ in own], np.int64)
        flat = pixels.reshape(-1, 3)
        labels = np.empty(len(flat), np.int64)
        for start in range(0, len(flat), _CHUNK):  # all at once would take gigabytes for large pictures
            colours = _weighted(flat[start : start + _CHUNK])
            distances = np.stack([((colours - one) ** 2).sum(1) for one in typical], axis=1)
            labels[start : start + _CHUNK] = owner[distances.argmin(1)]
        return labels.reshape(pixels.shape[:-1])


def _weighted(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    weighted: NDArray[np.float64] = rgb2lab(pixels) * np.array([_LIGHTNESS_WEIGHT, 1.0, 1.0])
    return weighted
