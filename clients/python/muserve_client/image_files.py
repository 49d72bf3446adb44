"""Image files from whatever people hold: a path, bytes, a Pillow image, a NumPy array. Needs neither package itself."""

from __future__ import annotations

import io
import struct
import sys
import zlib
from typing import Any

from muserve_client.contents import content_of
from muserve_client.fields import Fields
from muserve_client.pictures import Picture

__all__ = ["image_bytes", "write_png"]

_ALLOWED = (
    "a path, the bytes of a PNG, JPEG or WebP file, a binary file object, a picture of this client, a Pillow image, or "
    "a NumPy array"
)
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # PNG specification, 11.2.2, by channels
_COMPRESS_LEVEL = 1  # the file lives for one call
_PNG_MODES = ("1", "L", "LA", "P", "RGB", "RGBA", "I;16")
_CONVERTED_MODES = ("CMYK", "YCbCr", "HSV", "LAB", "PA", "La", "RGBa", "RGBX")


def image_bytes(fields: Fields, image: Any) -> bytes:
    """Returns the content of an image file in any form in which people hold one.

    Args:
        fields: Records what cannot be sent, as "image".
        image: What the caller has. Pillow images and arrays are sent unrotated; files may have an orientation.

    Raises:
        OSError: A file cannot be read.
    """
    if isinstance(image, Picture):
        return image.png
    pil = sys.modules.get("PIL.Image")  # whoever has such an image has imported it
    if pil is not None and isinstance(image, pil.Image):
        return _from_pillow(fields, image)
    numpy = sys.modules.get("numpy")
    if numpy is not None and isinstance(image, numpy.ndarray):
        return _from_array(fields, image)
    content = content_of(image)
    if content is not None:
        return content
    fields.refuse("image", f"is of the type {type(image).__name__}; allowed: {_ALLOWED}")
    return b""


def write_png(pixels: bytes, *, width: int, height: int, channels: int) -> bytes:
    """Writes pixels of 8 bits a channel as a PNG file.

    Args:
        pixels: Row by row, height * width * channels bytes.
        width: Pixels.
        height: Pixels.
        channels: 1 for grey, 3 for RGB; 2 and 4 for the same with alpha.
    """
    length = width * channels
    rows = b"".join(b"\0" + pixels[start : start + length] for start in range(0, height * length, length))
    header = struct.pack(">IIBBBBB", width, height, 8, _COLOUR_TYPES[channels], 0, 0, 0)
    parts = ((b"IHDR", header), (b"IDAT", zlib.compress(rows, _COMPRESS_LEVEL)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(content)) + kind + content + struct.pack(">I", zlib.crc32(kind + content))
        for kind, content in parts
    )


def _from_pillow(fields: Fields, image: Any) -> bytes:
    if image.mode in _CONVERTED_MODES:
        image = image.convert("RGBA" if image.has_transparency_data else "RGB")
    if image.mode not in _PNG_MODES or not (image.width and image.height):
        what = f"a Pillow image of {image.width} × {image.height} pixels in the mode {image.mode!r}"
        fields.refuse("image", f'is {what}; allowed: at least one pixel, in a mode such as "RGB": image.convert("RGB")')
        return b""
    buffer = io.BytesIO()
    image.save(buffer, "PNG", compress_level=_COMPRESS_LEVEL)
    return buffer.getvalue()


def _from_array(fields: Fields, array: Any) -> bytes:
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype.name != "uint8" or array.ndim not in (2, 3) or channels not in (1, 3, 4) or not array.size:
        what = f"an array of {array.dtype.name} with the shape {array.shape}"
        allowed = "uint8, [height, width], [height, width, 3] or [height, width, 4]"
        fields.refuse("image", f"is {what}; allowed: {allowed}")
        return b""
    return write_png(array.tobytes(), width=array.shape[1], height=array.shape[0], channels=channels)
