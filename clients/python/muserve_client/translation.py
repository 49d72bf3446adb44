"""Translations: the answer as PNG files that can be saved and shown."""

from __future__ import annotations

from dataclasses import dataclass

from muserve_client.answers import Info
from muserve_client.pictures import Picture

__all__ = ["Reconstruction", "Translation"]


@dataclass(frozen=True)
class Reconstruction(Picture):
    """What came back when a translation was translated back."""

    mean_absolute_error: float
    """Mean absolute difference from the image, over red, green and blue of all pixels that can be seen: 0 up to 255."""


@dataclass(frozen=True)
class Translation(Picture):
    """An image as another domain would show it, of the image's own size."""

    source: str
    """Domain that the image was taken to be of: "satellite"."""
    target: str
    """Domain of the translation: "map"."""
    info: Info
    """Model and timings. Nothing is drawn by seed: it is 0."""
    cycle: Reconstruction | None = None
    """The translation translated back; None unless it was asked for with cycle=True."""
    side_by_side: Picture | None = None
    """Image, translation and, if it was asked for, the way back; None unless asked for with side_by_side=True."""
