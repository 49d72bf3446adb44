"""Reads the headers of PNG, JPEG and WebP files from untrusted bytes, before a pixel is decoded.

Of PNG and JPEG files only what is needed to decode the pixels is passed on: profiles, texts, thumbnails, previews and
what follows the picture never reach a decoder.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

__all__ = ["ALLOWED", "Header", "ImageError", "read_header"]

ALLOWED = "PNG, JPEG or WebP"

_PNG_SIGNATURE, _JPEG_SIGNATURE = b"\x89PNG\r\n\x1a\n", b"\xff\xd8\xff"
_OTHERS = {
    b"GIF8": "GIF", b"BM": "BMP", b"II*\0": "TIFF", b"MM\0*": "TIFF", b"%PDF": "PDF", b"<svg": "SVG", b"<?xml": "XML",
    b"8BPS": "Photoshop", b"\0\0\1\0": "ICO", b"\xff\x0a": "JPEG XL", b"\0\0\0\x0cJXL ": "JPEG XL",
}  # fmt: skip
_MAX_PARTS = 65_536
"""Maximum chunks or segments of a file: 32 MiB have a twentieth of that, as encoders write them."""
_MAX_SCANS = 32
"""Maximum passes over the pixels of a JPEG file: encoders make up to a dozen, and each can cost as much as an image."""

_PNG_KEPT = frozenset((b"IHDR", b"PLTE", b"tRNS", b"IDAT", b"IEND"))
_SOF = frozenset(range(0xC0, 0xD0)) - {0xC4, 0xC8, 0xCC}  # ITU T.81, table B.1
_SOS, _EOI = 0xDA, 0xD9
_ALONE = frozenset((0x00, 0x01, *range(0xD0, 0xD9)))  # markers without a segment
# JFIF and Adobe say how colours are coded.
_DROPPED = (frozenset(range(0xE0, 0xF0)) | {0xFE}) - {0xE0, 0xEE}
# In the data of a scan 0xff stands before nothing but 0, a restart or another 0xff.
_NEXT_MARKER = re.compile(rb"\xff+([^\x00\xd0-\xd7\xff])", re.DOTALL)
_EXIF_APP = 0xE1
_EXIF_PREFIX = b"Exif\0\0"
_ORIENTATION_TAG = 0x0112
_ORIENTATIONS = range(1, 9)
_WEBP_ANIMATION = 0x02


class ImageError(Exception):
    """The bytes are not a supported image. The text follows on "image": "is a GIF file; …"."""


@dataclass(frozen=True)
class Header:
    """The header of an image file."""

    format: str
    """"PNG", "JPEG" or "WebP"."""
    width: int
    """Pixels, as stored: before it is turned upright."""
    height: int
    """Pixels, as stored."""
    parts: Sequence[bytes | memoryview]
    """The parts of the file that are needed to decode it; views, not copies."""
    frames: int = 1
    """Number of frames; more than 1 in animations."""
    bit_depth: int = 8
    """Bits of a stored value."""
    orientation: int = 1
    """Exif orientation, 1 up to 8."""


def read_header(data: bytes) -> Header:
    """Reads the header of an image file.

    Raises:
        ImageError: It is not a PNG, JPEG or WebP file, or its structure is damaged.
    """
    if data.startswith(_PNG_SIGNATURE):
        header = _read_png(data)
    elif data.startswith(_JPEG_SIGNATURE):
        header = _read_jpeg(data)
    elif data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        header = _read_webp(data)
    else:
        raise ImageError(_name_other(data))
    if not (header.width and header.height):
        raise ImageError(f"is a {header.format} file without pixels: its size is {header.width} × {header.height}")
    return header


def _name_other(data: bytes) -> str:
    if not data:
        return f"is empty; allowed: a whole {ALLOWED} file"
    name = next((name for start, name in _OTHERS.items() if data.startswith(start)), "")
    name = "HEIF or AVIF" if data[4:8] == b"ftyp" else name
    if name:
        return f"is a {name} file; allowed: {ALLOWED}"
    return f"is not a supported image file: it begins with the bytes {data[:8].hex(' ')}; allowed: {ALLOWED}"


def _cut_short(name: str) -> ImageError:
    return ImageError(f"is a {name} file that is truncated; send the whole file")


def _too_many(name: str, what: str) -> ImageError:
    return ImageError(f"is a {name} file of more than {_MAX_PARTS:,} {what}; save it again")


def _read_png(data: bytes) -> Header:
    """Walks the chunks; see the PNG specification, 5.3 and 11."""
    view = memoryview(data)
    kept = [view[:8]]
    width = height = bit_depth = 0
    frames = orientation = 1
    position = len(_PNG_SIGNATURE)
    for number in range(_MAX_PARTS):
        length, kind = int.from_bytes(view[position : position + 4], "big"), bytes(view[position + 4 : position + 8])
        content, end = view[position + 8 : position + 8 + length], position + 12 + length
        if end > len(data):
            raise _cut_short("PNG")
        if (kind == b"IHDR") != (number == 0) or (kind == b"IHDR" and length != 13):
            raise ImageError("is a damaged PNG file: it must begin with one header of 13 bytes")
        if kind == b"IHDR":
            width, height = int.from_bytes(content[:4], "big"), int.from_bytes(content[4:8], "big")
            bit_depth = content[8]
        elif kind == b"acTL":
            frames = max(frames, int.from_bytes(content[:4], "big"))
        elif kind == b"eXIf":
            orientation = _read_orientation(bytes(content))
        if kind in _PNG_KEPT:
            kept.append(view[position:end])
        position = end
        if kind == b"IEND":
            return Header("PNG", width, height, kept, frames, bit_depth, orientation)
    raise _too_many("PNG", "chunks")


def _read_jpeg(data: bytes) -> Header:
    """Walks the segments up to the first scan; see ITU T.81, annex B."""
    view = memoryview(data)
    kept = [view[:2]]
    width = height = 0
    orientation = 1
    position = 2
    for _ in range(_MAX_PARTS):
        position = data.find(b"\xff", position)  # some programs leave bytes between segments
        if position < 0 or position + 4 > len(data):
            raise _cut_short("JPEG")
        marker = data[position + 1]
        if marker == 0xFF or marker in _ALONE:
            position += 1 if marker == 0xFF else 2
            continue
        end = position + 2 + int.from_bytes(view[position + 2 : position + 4], "big")
        if marker == _EOI or end < position + 4:
            raise ImageError("is a JPEG file without a picture")
        if end > len(data):
            raise _cut_short("JPEG")
        content = view[position + 4 : end]
        if marker == _SOS:
            break
        if marker in _SOF:
            if len(content) < 6 or width:
                raise ImageError("is a damaged JPEG file: it must have one frame header")
            if content[0] != 8:
                raise ImageError(f"is a JPEG file with {content[0]} bits a value; allowed: 8")
            height, width = int.from_bytes(content[1:3], "big"), int.from_bytes(content[3:5], "big")
        elif marker == _EXIF_APP and orientation == 1 and bytes(content[:6]) == _EXIF_PREFIX:
            orientation = _read_orientation(bytes(content))
        if marker not in _DROPPED:
            kept.append(view[position:end])
        position = end
    else:
        raise _too_many("JPEG", "segments")
    end = _end_of_scans(data, position)
    return Header("JPEG", width, height, [*kept, view[position:end]], orientation=orientation)


def _end_of_scans(data: bytes, position: int) -> int:
    """Walks from the first scan to the end of the picture; phones let films follow it."""
    scans = 0
    for _ in range(_MAX_PARTS):
        found = _NEXT_MARKER.search(data, position)
        if found is None:
            return len(data)  # cut short, as the decoder will say
        marker, position = found[1][0], found.end()
        if marker == _EOI:
            return position
        scans += marker == _SOS
        if scans > _MAX_SCANS:
            raise ImageError(f"is a JPEG file of more than {_MAX_SCANS} scans; save it again")
        position += int.from_bytes(data[position : position + 2], "big")
    raise _too_many("JPEG", "segments")


def _read_webp(data: bytes) -> Header:
    """Walks the chunks; see RFC 9649, 2."""
    end = 8 + int.from_bytes(data[4:8], "little")
    if end > len(data):
        raise _cut_short("WebP")
    width = height = 0
    frames, orientation, is_animated = 0, 1, False
    position = 12
    for _ in range(_MAX_PARTS):
        if position + 8 > end:
            break
        kind, length = data[position : position + 4], int.from_bytes(data[position + 4 : position + 8], "little")
        content = data[position + 8 : min(position + 8 + length, end)] if kind != b"ICCP" else b""
        size = _webp_size(kind, content)
        width, height = max(width, size[0]), max(height, size[1])
        if kind == b"VP8X":
            is_animated = bool(content[:1] and content[0] & _WEBP_ANIMATION)
        elif kind == b"ANMF":
            frames += 1
        elif kind == b"EXIF":
            orientation = _read_orientation(content)
        position += 8 + length + length % 2
    else:
        raise _too_many("WebP", "chunks")
    return Header("WebP", width, height, [data], frames if is_animated else 1, orientation=orientation)


def _webp_size(kind: bytes, content: bytes) -> tuple[int, int]:
    """Returns the width and height that a chunk names; 0 and 0 if it names none."""
    if kind == b"VP8X" and len(content) >= 10:
        return 1 + int.from_bytes(content[4:7], "little"), 1 + int.from_bytes(content[7:10], "little")
    if kind == b"VP8 " and content[3:6] == b"\x9d\x01\x2a":
        return (int.from_bytes(content[6:8], "little") & 0x3FFF, int.from_bytes(content[8:10], "little") & 0x3FFF)
    if kind == b"VP8L" and content[:1] == b"\x2f":
        bits = int.from_bytes(content[1:5], "little")
        return 1 + (bits & 0x3FFF), 1 + (bits >> 14 & 0x3FFF)
    return 0, 0


def _read_orientation(exif: bytes) -> int:
    """Returns the orientation in the first directory of Exif data; 1 where none can be read."""
    tiff = exif.removeprefix(_EXIF_PREFIX)
    order: Literal["little", "big"]
    if tiff.startswith(b"II"):
        order = "little"
    elif tiff.startswith(b"MM"):
        order = "big"
    else:
        return 1
    start = int.from_bytes(tiff[4:8], order)
    entries = int.from_bytes(tiff[start : start + 2], order)
    for entry in range(start + 2, min(start + 2 + 12 * entries, len(tiff) - 11), 12):
        if int.from_bytes(tiff[entry : entry + 2], order) == _ORIENTATION_TAG:
            orientation = int.from_bytes(tiff[entry + 8 : entry + 10], order)
            return orientation if orientation in _ORIENTATIONS else 1
    return 1
