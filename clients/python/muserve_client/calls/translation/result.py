"""Translations: PNG files that can be saved and shown."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.v1 import translation_pb2
from muserve_client.info import Info, read_info
from muserve_client.pictures import Picture, read_picture

__all__ = ["Reconstruction", "Translation", "read_translation"]


@dataclass(frozen=True)
class Reconstruction(Picture):
    """A translation translated back."""

    mean_absolute_error: float
    """Mean absolute difference from the image, over red, green and blue of all visible pixels: 0 to 255."""


@dataclass(frozen=True)
class Translation(Picture):
    """An image in another domain, of the same size."""

    source: str
    """Domain of the image: "satellite"."""
    target: str
    """Domain of the translation: "map"."""
    info: Info
    """Model and timings. Nothing is random: the seed is 0."""
    cycle: Reconstruction | None = None
    """The translation translated back; None unless requested with cycle=True."""
    side_by_side: Picture | None = None
    """Image, translation and, if requested, back-translation in a row; None unless requested with side_by_side=True."""


def read_translation(response: translation_pb2.TranslateImageResponse) -> Translation:
    """Reads the response."""
    size = (response.width, response.height)
    cycle = None
    if response.HasField("cycle"):
        cycle = Reconstruction(response.cycle.png, *size, response.cycle.mean_absolute_error)
    return Translation(
        response.png,
        *size,
        source=response.source,
        target=response.target,
        info=read_info(response.info),
        cycle=cycle,
        side_by_side=read_picture(response.side_by_side_png) if response.side_by_side_png else None,
    )
