"""Translations: the answer as PNG files that can be saved and shown."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.v1 import translation_pb2
from muserve_client.info import Info, read_info
from muserve_client.pictures import Picture, read_picture

__all__ = ["Reconstruction", "Translation", "read_translation"]


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


def read_translation(response: translation_pb2.TranslateImageResponse) -> Translation:
    """Reads the wire's form."""
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
