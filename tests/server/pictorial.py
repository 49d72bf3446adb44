"""What the tests of translation share: image files of all kinds, and answers read."""

from __future__ import annotations

import io
import json
import struct
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

__all__ = ["chunk", "exif", "image_file", "png_header", "read_png", "scene", "with_chunk"]

Pixels = NDArray[np.uint8]


def scene(height: int, width: int, seed: int = 0) -> Pixels:
    """An RGB image with large shapes and fine grain, [height, width, 3]."""
    random = np.random.default_rng(seed)
    coarse = random.integers(0, 256, (height // 8 + 2, width // 8 + 2, 3), dtype=np.uint8)
    smooth = np.asarray(Image.fromarray(coarse).resize((width, height), Image.Resampling.BICUBIC), np.int16)
    pixels: Pixels = np.clip(smooth + random.integers(-15, 16, (height, width, 3)), 0, 255).astype(np.uint8)
    return pixels


def image_file(picture: Any, kind: str = "PNG", **options: Any) -> bytes:
    """Writes an array or a Pillow image as a file."""
    image = picture if isinstance(picture, Image.Image) else Image.fromarray(picture)
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def exif(orientation: int, *, big_endian: bool = False) -> bytes:
    """Exif data with an orientation alone."""
    order = ">" if big_endian else "<"
    start = b"MM\0*" if big_endian else b"II*\0"
    return b"Exif\0\0" + start + struct.pack(f"{order}IHHHIHHI", 8, 1, 0x0112, 3, 1, orientation, 0, 0)


def chunk(kind: bytes, content: bytes) -> bytes:
    """A PNG chunk."""
    return struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))


def png_header(width: int, height: int, *, bit_depth: int = 8, colour: int = 2) -> bytes:
    """Signature and header of a PNG file."""
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, bit_depth, colour, 0, 0, 0))


def with_chunk(png: bytes, kind: bytes, content: bytes) -> bytes:
    """Puts a chunk behind the header of a PNG file."""
    return png[:33] + chunk(kind, content) + png[33:]


def read_png(png: bytes) -> tuple[Pixels, dict[str, Any]]:
    """The pixels of an answer and what it says of itself."""
    with Image.open(io.BytesIO(png), formats=["PNG"]) as image:
        image.load()
        return np.asarray(image), json.loads(image.info["muserve"])
