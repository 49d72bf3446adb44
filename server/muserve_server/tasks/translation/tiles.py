"""Cuts images of any size into overlapping tiles of one size, and blends tiles to an image. Pure, but for one fold.

Tiles lie at multiples of tile_size - overlap, so that the strides of a network fall on the same pixels in each. Where
an image ends before its tiles, it is continued by reflection. Neighbours fade into each other over the overlap.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Quilt", "Tiling"]

Pixels = NDArray[np.uint8]
Floats = NDArray[np.float32]


@dataclass(frozen=True)
class Tiling:
    """How one image is cut. Tiles are counted along its shorter side first, so that what waits to be sewn is small."""

    height: int
    """Of the image, in pixels."""
    width: int
    """Of the image, in pixels."""
    tile_size: int
    """Height and width of a tile."""
    overlap: int
    """Pixels that neighbours share: less than half a tile."""

    @property
    def stride(self) -> int:
        """Pixels from the start of a tile to that of the next."""
        return self.tile_size - self.overlap

    @property
    def is_turned(self) -> bool:
        """Whether tiles are counted down the columns, not along the rows."""
        return self.width > self.height

    @property
    def bands(self) -> int:
        """Tiles along the longer side."""
        return self._along(max(self.height, self.width))

    @property
    def tiles_per_band(self) -> int:
        """Tiles along the shorter side."""
        return self._along(min(self.height, self.width))

    @property
    def count(self) -> int:
        """Tiles of the image."""
        return self.bands * self.tiles_per_band

    def cut(self, pixels: Pixels, first: int, last: int, *, black: float, white: float) -> Floats:
        """Cuts some tiles.

        Args:
            pixels: The image, [height, width, 3].
            first: Index of the first tile.
            last: Index after the last.
            black: What 0 becomes.
            white: What 255 becomes.

        Returns:
            [tile, 3, tile_size, tile_size].
        """
        levels = np.linspace(black, white, 256, dtype=np.float32)
        tiles = np.empty((last - first, 3, self.tile_size, self.tile_size), dtype=np.float32)
        for tile, index in zip(tiles, range(first, last), strict=True):
            band, place = divmod(index, self.tiles_per_band)
            top, left = (place, band) if self.is_turned else (band, place)
            rows = _reflected(top * self.stride, self.tile_size, self.height)
            columns = _reflected(left * self.stride, self.tile_size, self.width)
            tile[:] = levels[pixels[np.ix_(rows, columns)]].transpose(2, 0, 1)
        return tiles

    def _along(self, size: int) -> int:
        return 1 + math.ceil(max(0, size - self.tile_size) / self.stride)


class Quilt:
    """The image that tiles are sewn into, in the order in which they were cut.

    Holds the image in 8 bits and one band of tiles in floats.
    """

    def __init__(self, tiling: Tiling) -> None:
        self._tiling = tiling
        shape = (tiling.height, tiling.width, 3)
        self.pixels: Pixels = np.empty(shape, dtype=np.uint8)
        """[height, width, 3]; whole once the last tile is there."""
        long = self.pixels.swapaxes(0, 1) if tiling.is_turned else self.pixels
        self._long: Pixels = long  # [along the longer side, along the shorter, 3]
        across = (tiling.tiles_per_band - 1) * tiling.stride + tiling.tile_size
        self._band: Floats = np.zeros((tiling.tile_size, across, 3), dtype=np.float32)
        self._before: Floats = self._band[:0]
        self._next = 0
        self._rise = _rise(tiling.overlap)

    def add(self, tiles: Floats, *, black: float, white: float) -> None:
        """Sews the next tiles in.

        Args:
            tiles: What became of them, [tile, 3, tile_size, tile_size].
            black: Value that becomes 0.
            white: Value that becomes 255. Values beyond are clipped.
        """
        tiling = self._tiling
        values = np.clip((tiles - black) * (255.0 / (white - black)), 0, 255, dtype=np.float32)
        for tile in values.transpose(0, 3, 2, 1) if tiling.is_turned else values.transpose(0, 2, 3, 1):
            band, place = divmod(self._next, tiling.tiles_per_band)
            start = place * tiling.stride
            weights = self._weights(place)
            self._band[:, start : start + tiling.tile_size] += tile * weights[None, :, None]
            self._next += 1
            if place == tiling.tiles_per_band - 1:
                self._finish(band)

    def _weights(self, place: int) -> Floats:
        """Returns a tile's weights across its band, [tile_size]."""
        weights = np.ones(self._tiling.tile_size, dtype=np.float32)
        overlap = self._tiling.overlap
        if overlap and place:
            weights[:overlap] = self._rise
        if overlap and place < self._tiling.tiles_per_band - 1:
            weights[-overlap:] = self._rise[::-1]
        return weights

    def _finish(self, index: int) -> None:
        """Lets a band fade in where the one before fades out, and keeps what fades out in turn."""
        tiling, band = self._tiling, self._band
        if index and tiling.overlap:
            rise = self._rise[:, None, None]
            band[: tiling.overlap] = band[: tiling.overlap] * rise + self._before * rise[::-1]
        start = index * tiling.stride
        rows = band[: tiling.stride] if index < tiling.bands - 1 else band
        target = self._long[start : start + len(rows)]
        target[:] = rows[: len(target), : target.shape[1]] + 0.5
        self._before = band[tiling.stride :].copy()
        band[:] = 0


def _rise(overlap: int) -> Floats:
    """Returns the weights of a tile that fades in, [overlap]: with those of its neighbour, turned round, they sum to 1.

    The square of a sine: what is next to a tile's edge, where the network saw least, has next to no weight.
    """
    positions = (np.arange(overlap) + 0.5) / max(1, overlap)
    return (np.sin(positions * (np.pi / 2)) ** 2).astype(np.float32)


def _reflected(start: int, count: int, size: int) -> NDArray[np.int64]:
    """Returns the indices of some pixels along a side; beyond its end it runs back and forth, without doubled ends."""
    period = max(1, 2 * (size - 1))
    indices = np.arange(start, start + count) % period
    return np.minimum(indices, period - indices) if size > 1 else np.zeros(count, dtype=np.int64)
