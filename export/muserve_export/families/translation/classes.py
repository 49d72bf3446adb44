"""What a pixel of a map shows, by its colour: classes that are found in the training maps and then stay fixed."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muserve_export.errors import DataError

__all__ = ["MapClasses", "to_lab"]

FILE = "classes.json"
_SEED, _SAMPLE, _ROUNDS = 0, 40_000, 60
# Relief is drawn by light and shade: of the three coordinates of a colour, lightness says least of what is there.
_LIGHTNESS_WEIGHT = 0.3
_TYPICAL: Mapping[str, tuple[int, int, int]] = {
    "deep water": (120, 168, 205),
    "shallow water": (195, 214, 232),
    "ice": (232, 234, 244),
    "green lowland": (135, 174, 156),
    "plain": (152, 176, 171),
    "dry or high land": (192, 183, 168),
}
"""A name for each class, and a colour by which it is given: the nearest of what was found, each used once."""


@dataclass(frozen=True)
class MapClasses:
    """Classes, each around a colour: a pixel is of the class whose colour is nearest to its own."""

    domain: str
    """A or B: which of the two sides they are of."""
    names: tuple[str, ...]
    """Of the classes."""
    centres: NDArray[np.float64]
    """Weighted CIELAB colours, [class, 3]."""

    @classmethod
    def find(cls, pixels: NDArray[np.uint8], *, domain: str) -> MapClasses:
        """Finds the classes by k-means (Lloyd) in CIELAB with less weight on lightness.

        Args:
            pixels: Colours of training maps, [pixel, 3].
            domain: A or B.
        """
        random = np.random.default_rng(_SEED)
        chosen = random.choice(len(pixels), min(_SAMPLE, len(pixels)), replace=False)
        colours = _weighted(pixels[chosen])
        # It begins from the typical colours, so that there is one result, and each class keeps its name.
        centres = _weighted(np.array(list(_TYPICAL.values()), np.uint8))
        for _ in range(_ROUNDS):
            nearest = _nearest(colours, centres)
            found = [colours[nearest == index] for index in range(len(centres))]
            centres = np.stack([own.mean(0) if len(own) else old for own, old in zip(found, centres, strict=True)])
        return cls(domain, tuple(_TYPICAL), centres)

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
            centres = np.array(list(content["classes"].values()), np.float64)
            classes = cls(content["domain"], tuple(content["classes"]), centres)
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
            raise DataError(f"{path}: cannot be read as classes of a map ({error}); make the data again") from error
        if classes.domain not in ("A", "B") or centres.ndim != 2 or centres.shape[1] != 3:
            raise DataError(f"{path}: must have a domain, A or B, and classes with three numbers each")
        return classes

    def write(self, folder: Path) -> None:
        """Writes classes.json."""
        classes = {name: centre.round(3).tolist() for name, centre in zip(self.names, self.centres, strict=True)}
        content = {
            "domain": self.domain,
            "unit": f"CIELAB of sRGB under D65, lightness times {_LIGHTNESS_WEIGHT}",
            "classes": classes,
        }
        (folder / FILE).write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")

    def label(self, pixels: NDArray[np.uint8]) -> NDArray[np.int64]:
        """Says of what class each pixel is.

        Args:
            pixels: [..., 3].

        Returns:
            Index into `names`, [...].
        """
        return _nearest(_weighted(pixels.reshape(-1, 3)), self.centres).reshape(pixels.shape[:-1])


def to_lab(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Converts sRGB to CIELAB under D65 (IEC 61966-2-1; CIE 15): [..., 3]."""
    shares = pixels / 255.0
    linear = np.where(shares <= 0.04045, shares / 12.92, ((shares + 0.055) / 1.055) ** 2.4)
    to_xyz = np.array(
        [[0.4124564, 0.3575761, 0.1804375], [0.2126729, 0.7151522, 0.0721750], [0.0193339, 0.1191920, 0.9503041]]
    )
    xyz = linear @ to_xyz.T / np.array([0.95047, 1.0, 1.08883])
    roots = np.where(xyz > (6 / 29) ** 3, np.cbrt(xyz), xyz * (29 / 6) ** 2 / 3 + 4 / 29)
    x, y, z = np.moveaxis(roots, -1, 0)
    return np.stack([116 * y - 16, 500 * (x - y), 200 * (y - z)], axis=-1)


def _weighted(pixels: NDArray[np.uint8]) -> NDArray[np.float64]:
    weighted: NDArray[np.float64] = to_lab(pixels) * np.array([_LIGHTNESS_WEIGHT, 1.0, 1.0])
    return weighted


def _nearest(colours: NDArray[np.float64], centres: NDArray[np.float64]) -> NDArray[np.int64]:
    distances = np.stack([((colours - centre) ** 2).sum(1) for centre in centres], axis=1)
    nearest: NDArray[np.int64] = distances.argmin(1)
    return nearest
