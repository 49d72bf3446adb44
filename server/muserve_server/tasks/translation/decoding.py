"""Image bytes that nobody vouches for become pixels, or an ImageError that says what is wrong with them."""

from __future__ import annotations

import io
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.ImageFile import ImageFile
from PIL.JpegImagePlugin import JpegImageFile
from PIL.PngImagePlugin import PngImageFile
from PIL.WebPImagePlugin import WebPImageFile

from muserve_server.tasks.translation.containers import Header, ImageError

__all__ = ["Picture", "check_size", "decode", "turn"]

Pixels = NDArray[np.uint8]

# Pillow's own classes, not Image.open: that tries other formats, and warns of sizes that are checked here.
_READERS: Mapping[str, type[ImageFile]] = MappingProxyType(
    {"PNG": PngImageFile, "JPEG": JpegImageFile, "WebP": WebPImageFile}
)
_TRANSPARENCY = "transparency"
_OPAQUE = 255


@dataclass(frozen=True)
class Picture:
    """An upright image."""

    rgb: Pixels
    """[height, width, 3]."""
    alpha: Pixels | None
    """[height, width]; None where every pixel is opaque."""


def check_size(header: Header, max_pixels: int, least_side: int) -> None:
    """Refuses an image before memory is taken for it.

    Args:
        header: Of the file.
        max_pixels: Most pixels.
        least_side: A shorter side counts as this long: so much is computed for it.

    Raises:
        ImageError: It has too many pixels, or more than one frame.
    """
    width, height = header.width, header.height
    counted = max(width, least_side) * max(height, least_side)
    if counted > max_pixels:
        text = f"is {width} × {height}, which counts as {counted:,} pixels; allowed: up to {max_pixels:,}"
        text += f", where a side under {least_side} counts as {least_side}" * (min(width, height) < least_side)
        raise ImageError(f"{text}; send a smaller image")
    if header.frames != 1:
        raise ImageError(f"is animated: it has {header.frames} frames; send one frame")


def decode(header: Header) -> Picture:
    """Decodes an image to 8 bits and turns it upright.

    Of 16 bits the higher 8 are kept. Grey becomes RGB, and CMYK is converted without a profile.

    Args:
        header: Of the file; its size is trusted.

    Raises:
        ImageError: It is damaged or cut short.
    """
    try:
        with _READERS[header.format](io.BytesIO(b"".join(header.parts))) as image:
            if image.size != (header.width, header.height):
                found = f"{image.size[0]} × {image.size[1]}"
                raise ImageError(f"is damaged: it says {header.width} × {header.height}, and {found} elsewhere")
            if getattr(image, "n_frames", 1) != 1:
                raise ImageError("is animated; send one frame")
            image.load()
            rgb, alpha = _channels(image, header.bit_depth)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # Pillow raises whatever a broken file makes it
        raise ImageError(
            f"is a {header.format} file that cannot be decoded: it is damaged, cut short or of a rare kind; "
            "save it anew as PNG"
        ) from error
    if alpha is not None and alpha.min() == _OPAQUE:
        alpha = None
    return Picture(turn(rgb, header.orientation), None if alpha is None else turn(alpha, header.orientation))


def turn(pixels: Pixels, orientation: int) -> Pixels:
    """Turns an image upright, as Exif 2.32, 4.6.4 says of Orientation.

    Args:
        pixels: [height, width, ...].
        orientation: 1 up to 8.
    """
    if orientation >= 5:
        pixels = pixels.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


def _channels(image: Image.Image, bit_depth: int) -> tuple[Pixels, Pixels | None]:
    if image.mode.startswith("I"):  # grey of 16 bits, which Pillow converts by cutting off at 255
        return _sixteen_bit_grey(image)
    if _TRANSPARENCY in image.info and image.mode != "P":
        image.info[_TRANSPARENCY] = _as_decoded(image.info[_TRANSPARENCY], bit_depth)
    if image.has_transparency_data:
        rgba = np.asarray(image.convert("RGBA"))
        return rgba[..., :3], np.ascontiguousarray(rgba[..., 3])
    return np.asarray(image if image.mode == "RGB" else image.convert("RGB")), None


def _sixteen_bit_grey(image: Image.Image) -> tuple[Pixels, Pixels | None]:
    values = np.asarray(image)
    grey = (np.clip(values, 0, 2**16 - 1) >> 8).astype(np.uint8)
    alpha = None
    if _TRANSPARENCY in image.info:
        alpha = np.where(values == image.info[_TRANSPARENCY], 0, _OPAQUE).astype(np.uint8)
    return np.repeat(grey[..., None], 3, axis=-1), alpha


def _as_decoded(transparent: int | tuple[int, ...], bit_depth: int) -> int | tuple[int, ...]:
    """Scales the colour that stands for transparency, which Pillow leaves as stored, to the 8 bits of its pixels."""
    if isinstance(transparent, tuple):
        return tuple(value >> max(0, bit_depth - 8) for value in transparent)
    largest = (1 << bit_depth) - 1
    return (transparent & largest) * _OPAQUE // largest
