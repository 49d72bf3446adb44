"""Pixels to PNG, with the metadata of their making inside the file. Pure functions."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from PIL.PngImagePlugin import PngInfo

__all__ = ["contact_sheet", "encode_png", "to_pixels"]

TEXT_KEY = "muserve"
_GAP = 2


def to_pixels(images: NDArray[np.float32], black: float, white: float) -> NDArray[np.uint8]:
    """Scales a generator's output to 8 bits.

    Args:
        images: [image, channel, height, width].
        black: Value that becomes 0.
        white: Value that becomes 255. Values beyond are clipped.

    Returns:
        uint8 [image, height, width, channel].
    """
    scaled = (images - black) * (255.0 / (white - black)) + 0.5
    pixels: NDArray[np.uint8] = np.clip(scaled, 0, 255).astype(np.uint8).transpose(0, 2, 3, 1)
    return pixels


def contact_sheet(pixels: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Lays images out in a near-square grid, row by row, 2 pixels apart on black.

    Args:
        pixels: uint8 [image, height, width, channel].

    Returns:
        uint8 [height, width, channel].
    """
    count, height, width, channels = pixels.shape
    columns = math.ceil(math.sqrt(count))
    rows = math.ceil(count / columns)
    sheet = np.zeros(
        (rows * (height + _GAP) - _GAP, columns * (width + _GAP) - _GAP, channels),
        dtype=np.uint8,
    )
    for index, image in enumerate(pixels):
        top, left = index // columns * (height + _GAP), index % columns * (width + _GAP)
        sheet[top : top + height, left : left + width] = image
    return sheet


def encode_png(pixels: NDArray[np.uint8], metadata: Mapping[str, Any]) -> bytes:
    """Encodes one image.

    Args:
        pixels: uint8 [height, width, channel], 1 channel for grey, 3 for RGB or 4 for RGBA.
        metadata: Written as JSON into the text chunk "muserve".

    Returns:
        The PNG file. Equal input gives equal bytes.
    """
    text = PngInfo()
    text.add_text(TEXT_KEY, json.dumps(metadata, separators=(",", ":")))
    image = Image.fromarray(pixels[..., 0] if pixels.shape[-1] == 1 else pixels)
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()
