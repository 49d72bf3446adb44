"""Images from anyone: every kind has its stated pixels, and whatever is no image is refused with a reason."""

from __future__ import annotations

import functools
import io
import re
import struct
import tracemalloc
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageOps
from PIL.JpegImagePlugin import JpegImageFile

from muserve_server.tasks.translation.containers import ImageError, read_header
from muserve_server.tasks.translation.decoding import Picture, check_size, decode, turn
from tests.server.pictorial import chunk, exif, image_file, png_header, scene, with_chunk

MAX_PIXELS = 2**16
KINDS = ("PNG", "JPEG", "WEBP")
GREY_16 = np.array([[0, 255, 256], [0x1234, 0xFF00, 0xFFFF]], np.uint16)


def read(data: bytes) -> Picture:
    header = read_header(data)
    check_size(header, MAX_PIXELS, 1)
    return decode(header)


def refusal(data: bytes) -> str:
    with pytest.raises(ImageError) as caught:
        read(data)
    return str(caught.value)


@pytest.mark.parametrize("kind", KINDS)
def test_each_kind_of_file_has_the_pixels_that_pillow_sees(kind: str) -> None:
    data = image_file(scene(21, 34), kind)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(image.convert("RGB"))
    picture = read(data)
    np.testing.assert_array_equal(picture.rgb, expected)
    assert picture.alpha is None


def test_a_lossless_file_has_the_pixels_that_were_written() -> None:
    pixels = scene(17, 9)
    for data in (image_file(pixels), image_file(pixels, "WEBP", lossless=True), image_file(pixels[:1, :1])):
        picture = read(data)
        np.testing.assert_array_equal(picture.rgb, pixels[: len(picture.rgb), : picture.rgb.shape[1]])


def grey_png(values: Any, bit_depth: int, colour: int, *extra: bytes) -> bytes:
    """A PNG of packed rows, as Pillow does not write them."""
    rows = b"".join(b"\0" + bytes(row) for row in values)
    width = len(values[0]) * 8 // (bit_depth * {0: 1, 2: 3, 3: 1, 4: 2}[colour])
    parts = (*extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b""))
    return png_header(width, len(values), bit_depth=bit_depth, colour=colour) + b"".join(parts)


PALETTE = bytes([10, 20, 30, 200, 100, 0, 1, 2, 3])


@pytest.mark.parametrize(
    ("data", "rgb", "alpha"),
    [
        (image_file(np.array([[7, 200]], np.uint8)), [[7] * 3, [200] * 3], None),
        (image_file(Image.fromarray(np.array([[0, 255]], np.uint8)).convert("1")), [[0] * 3, [255] * 3], None),
        (image_file(GREY_16), [[v >> 8] * 3 for v in GREY_16.ravel().tolist()], None),
        (grey_png([[0x12, 0x34, 0xFF, 0xFF, 0x00, 0x80]], 16, 2), [[0x12, 0xFF, 0x00]], None),
        (grey_png([[0x12, 0x34, 0x80, 0x00]], 16, 4), [[0x12] * 3], [0x80]),
        (grey_png([[0x0F]], 4, 0, chunk(b"tRNS", b"\0\x0f")), [[0] * 3, [255] * 3], [255, 0]),
        (grey_png([[0x40]], 1, 0, chunk(b"tRNS", b"\0\0")), [[0] * 3, [255] * 3] + [[0] * 3] * 6, [0, 255] + [0] * 6),
        (grey_png([[0x12, 0x34, 0x12, 0x35]], 16, 0, chunk(b"tRNS", b"\x12\x34")), [[0x12] * 3] * 2, [0, 255]),
        (
            grey_png([[1, 2, 3, 4, 5, 6]], 8, 2, chunk(b"tRNS", b"\0\1\0\2\0\3")), [[1, 2, 3], [4, 5, 6]], [0, 255],
        ),
        (grey_png([[0, 1, 2]], 8, 3, chunk(b"PLTE", PALETTE)), [[10, 20, 30], [200, 100, 0], [1, 2, 3]], None),
        (
            grey_png([[0, 1]], 8, 3, chunk(b"PLTE", PALETTE), chunk(b"tRNS", b"\x80")), [[10, 20, 30], [200, 100, 0]],
            [128, 255],
        ),
        (image_file(np.array([[[1, 2, 3, 255]]], np.uint8)), [[1, 2, 3]], None),
        (image_file(np.array([[[1, 2, 3, 254]]], np.uint8)), [[1, 2, 3]], [254]),
        (image_file(np.array([[[9, 0]]], np.uint8)), [[9, 9, 9]], [0]),
    ],
    ids=["grey", "bits", "grey 16", "RGB 16", "grey 16 alpha", "grey 4 with a clear value", "bits with a clear value",
         "grey 16 with a clear value", "RGB with a clear colour", "palette", "palette with alpha", "opaque alpha",
         "alpha", "grey alpha"],
)  # fmt: skip
def test_each_kind_of_pixel_becomes_eight_bits_of_rgb(data: bytes, rgb: Any, alpha: Any) -> None:
    picture = read(data)
    assert picture.rgb.reshape(-1, 3).tolist() == rgb
    assert (None if picture.alpha is None else picture.alpha.ravel().tolist()) == alpha


def test_cmyk_is_converted_without_a_profile() -> None:
    cmyk = Image.merge("CMYK", [Image.new("L", (16, 8), value) for value in (255, 0, 0, 0)])
    picture = read(image_file(cmyk, "JPEG", quality=95))
    assert picture.rgb.shape == (8, 16, 3)
    np.testing.assert_allclose(picture.rgb, np.broadcast_to([0, 255, 255], (8, 16, 3)), atol=3)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("big_endian", [False, True])
def test_it_is_turned_upright(kind: str, orientation: int, big_endian: bool) -> None:
    pixels = scene(6, 10)
    data = image_file(pixels, kind, exif=exif(orientation, big_endian=big_endian), quality=95)
    with Image.open(io.BytesIO(data)) as image:
        expected = np.asarray(ImageOps.exif_transpose(image).convert("RGB"))
    np.testing.assert_array_equal(read(data).rgb, expected)


def test_transparency_is_turned_along() -> None:
    pixels = np.dstack([scene(3, 5), np.arange(15, dtype=np.uint8).reshape(3, 5)])
    picture = read(image_file(pixels, exif=exif(6)))
    assert picture.alpha is not None
    np.testing.assert_array_equal(np.dstack([picture.rgb, picture.alpha]), turn(pixels, 6))


@pytest.mark.parametrize("data", [b"", b"Exif\0\0", b"MM", exif(9), exif(0), exif(6)[:20], b"II*\0" + b"\xff" * 40])
@pytest.mark.parametrize("kind", KINDS)
def test_an_orientation_that_cannot_be_read_is_none(kind: str, data: bytes) -> None:
    pixels = scene(4, 7)
    assert read(image_file(pixels, kind, exif=data)).rgb.shape == pixels.shape


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", "is empty; allowed: a whole PNG, JPEG or WebP file"),
        (b"hello world", "is not a supported image file: it begins with the bytes 68 65 6c 6c 6f 20 77 6f; "),
        (image_file(scene(4, 4), "GIF"), "is a GIF file; allowed: PNG, JPEG or WebP"),
        (image_file(scene(4, 4), "BMP"), "is a BMP file"),
        (image_file(scene(4, 4), "TIFF"), "is a TIFF file"),
        (image_file(scene(4, 4), "AVIF"), "is a HEIF or AVIF file"),
        (b"%PDF-1.7", "is a PDF file"),
        (image_file(scene(9, 9))[:-1], "is a PNG file that is truncated; send the whole file"),
        (image_file(scene(9, 9))[:20], "is a PNG file that is truncated"),
        (image_file(scene(9, 9))[:8], "is a PNG file that is truncated"),
        (image_file(scene(9, 9), "JPEG")[:100], "is a JPEG file that is truncated"),
        (image_file(scene(99, 99), "JPEG")[:-400], "is a JPEG file that cannot be decoded: it is damaged, cut short "),
        (image_file(scene(9, 9), "WEBP")[:-1], "is a WebP file that is truncated"),
        (png_header(0, 9) + chunk(b"IEND", b""), "is a PNG file without pixels: its size is 0 × 9"),
        (png_header(9, 9) + chunk(b"IEND", b""), "is a PNG file that cannot be decoded"),
        (png_header(9, 9) + png_header(9, 9)[8:], "is a damaged PNG file: it must begin with one header of 13 bytes"),
        (image_file(scene(9, 9))[:8] + image_file(scene(9, 9))[33:], "is a damaged PNG file"),
        (b"\xff\xd8\xff\xd9aaaa", "is a JPEG file without a picture"),
        (b"\xff\xd8" + b"\xff" * 70_000 + b"\xd9", "is a JPEG file of more than 65,536 segments; save it again"),
        (png_header(9, 9) + chunk(b"tEXt", b"") * 65_536, "is a PNG file of more than 65,536 chunks; save it again"),
        (b"RIFF\x0c\0\0\0WEBPabcd\0\0\0\0", "is a WebP file without pixels"),
        (b"RIFF\0\x08\x08\0WEBP" + b"abcd\0\0\0\0" * 66_000, "is a WebP file of more than 65,536 chunks"),
    ],
)  # fmt: skip
def test_what_is_no_image_is_refused(data: bytes, text: str) -> None:
    assert refusal(data).startswith(text)


def test_animations_are_refused() -> None:
    frames = [Image.fromarray(scene(5, 5, seed)) for seed in range(3)]
    for kind in ("PNG", "WEBP"):
        data = image_file(frames[0], kind, save_all=True, append_images=frames[1:])
        assert refusal(data) == "is animated: it has 3 frames; send one frame"
    still = with_chunk(image_file(frames[0]), b"acTL", struct.pack(">II", 1, 0))
    np.testing.assert_array_equal(read(still).rgb, np.asarray(frames[0]))


def test_of_several_pictures_in_a_jpeg_file_the_first_is_taken() -> None:
    frames = [Image.fromarray(scene(8, 8, seed)) for seed in range(2)]
    data = image_file(frames[0], "MPO", save_all=True, append_images=frames[1:])
    with JpegImageFile(io.BytesIO(data)) as image:
        np.testing.assert_array_equal(read(data).rgb, np.asarray(image))


BOMBS = {
    "PNG": png_header(60_000, 60_000) + chunk(b"IDAT", zlib.compress(bytes(10**7), 9)) + chunk(b"IEND", b""),
    "JPEG": b"\xff\xd8\xff\xc0\x00\x11\x08\xff\xff\xff\xff\x03\x01\x22\0\x02\x11\x01\x03\x11\x01\xff\xda\0\x08"
    + bytes(9),
    "WebP": b"RIFF\x1e\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0\xff\x3f\0\xff\x3f\0" + bytes(8),
    "WebP lossless": b"RIFF\x16\0\0\0WEBPVP8L\x0a\0\0\0\x2f\xff\xff\xff\x0f" + bytes(5),
    "WebP lossy": b"RIFF\x16\0\0\0WEBPVP8 \x0a\0\0\0\0\0\0\x9d\x01\x2a\xff\x3f\xff\x3f",
}


@pytest.mark.parametrize("kind", BOMBS)
def test_a_bomb_is_refused_from_its_header(kind: str) -> None:
    data = BOMBS[kind]
    tracemalloc.start()
    try:
        text = refusal(data)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert re.fullmatch(
        r"is \d+ × \d+, which counts as [\d,]+ pixels; allowed: up to 65,536; send a smaller image", text
    )
    assert peak < 2**20


def test_a_short_side_counts_as_a_tile() -> None:
    line = read_header(image_file(np.zeros((1, 2000, 3), np.uint8)))
    check_size(line, MAX_PIXELS, 32)
    with pytest.raises(ImageError) as caught:
        check_size(line, MAX_PIXELS, 64)
    text = "is 2000 × 1, which counts as 128,000 pixels; allowed: up to 65,536, where a side under 64 counts as 64"
    assert str(caught.value) == f"{text}; send a smaller image"


def test_a_jpeg_of_endless_scans_is_refused() -> None:
    data = image_file(scene(16, 16), "JPEG", progressive=True)
    start = data.index(b"\xff\xda")
    end = data.index(b"\xff\xc4", start) if b"\xff\xc4" in data[start:] else len(data) - 2
    scan = data[start:end]
    assert refusal(data[:start] + scan * 33 + data[start:]).startswith("is a JPEG file of more than 32 scans")
    assert refusal(image_file(scene(8, 8), "JPEG").replace(b"\xff\xc0\0\x11\x08", b"\xff\xc0\0\x11\x0c")) == (
        "is a JPEG file with 12 bits a value; allowed: 8"
    )


@pytest.mark.parametrize("progressive", [False, True])
def test_what_follows_a_jpeg_is_not_looked_at(progressive: bool) -> None:
    """As the films that phones append, in which any bytes may stand."""
    jpeg = image_file(scene(40, 30), "JPEG", progressive=progressive)
    film = b"\xff\xda" * 500 + np.random.default_rng(0).bytes(100_000)
    np.testing.assert_array_equal(read(jpeg + film).rgb, read(jpeg).rgb)
    assert sum(len(part) for part in read_header(jpeg + film).parts) <= len(jpeg)


def test_what_is_beside_the_pixels_never_reaches_the_decoder() -> None:
    """A text that unpacks to 200 MB, a broken profile, a wrong animation: Pillow would fail or warn."""
    pixels = scene(5, 5)
    text = chunk(b"zTXt", b"x\0\0" + zlib.compress(bytes(2 * 10**8)))
    odd = chunk(b"iCCP", b"no profile") + chunk(b"acTL", struct.pack(">II", 0, 0)) + chunk(b"fcTL", b"")
    png = image_file(pixels)
    np.testing.assert_array_equal(read(png[:33] + text + odd + png[33:]).rgb, pixels)
    jpeg = image_file(pixels, "JPEG")
    segments = b"".join(b"\xff\xe1\x00\x0aExif\0\0MM" + b"\xff\xe2\x00\x06MPF\0" for _ in range(3))
    np.testing.assert_array_equal(read(jpeg[:2] + segments + jpeg[2:]).rgb, read(jpeg).rgb)


@functools.cache
def specimens() -> list[bytes]:
    pixels = scene(12, 17)
    clear = np.dstack([pixels, np.full(pixels.shape[:2], 99, np.uint8)])
    image = Image.fromarray(pixels)
    return [
        image_file(pixels), image_file(clear), image_file(image.convert("P")), image_file(image.convert("1")),
        image_file(GREY_16), image_file(pixels, exif=exif(6)), image_file(pixels, "JPEG", exif=exif(8)),
        image_file(pixels, "JPEG", progressive=True), image_file(image.convert("CMYK"), "JPEG"),
        image_file(image.convert("L"), "JPEG"), image_file(pixels, "WEBP"), image_file(clear, "WEBP", lossless=True),
        image_file(pixels, "WEBP", exif=exif(3)),
    ]  # fmt: skip


Edit = tuple[str, int, bytes]
KIND = st.sampled_from(["set", "insert", "delete", "cut"])
EDITS = st.lists(st.tuples(KIND, st.integers(0, 2**20), st.binary(min_size=1, max_size=6)), min_size=1, max_size=6)


def mend(data: bytes) -> bytes:
    """Makes a PNG's checksums right again, so that changes get past them."""
    mended, position = bytearray(data), 8
    while position + 12 <= len(data):
        length = int.from_bytes(data[position : position + 4], "big")
        end = position + 8 + length
        if end + 4 > len(data):
            break
        mended[end : end + 4] = struct.pack(">I", zlib.crc32(data[position + 4 : end]))
        position = end + 4
    return bytes(mended)


@settings(max_examples=150, suppress_health_check=list(HealthCheck))
@given(which=st.integers(0, 12), edits=EDITS, mends=st.booleans())
@example(which=0, edits=[("set", 16, b"\xff\xff\xff\xff")], mends=True)
def test_mutated_files_are_read_or_refused(which: int, edits: list[Edit], mends: bool) -> None:
    data = specimens()[which]
    for kind, where, content in edits:
        at = where % max(1, len(data))
        if kind == "cut":
            data = data[:at]
        else:
            kept = data[at:] if kind == "insert" else data[at + len(content) :]
            data = data[:at] + (b"" if kind == "delete" else content) + kept
    data = mend(data) if mends and data.startswith(b"\x89PNG") else data
    try:
        picture = read(data)
    except ImageError as error:
        assert str(error).startswith("is ")  # noqa: PT017 - both ends are right
    else:
        assert picture.rgb.dtype == np.uint8
        assert picture.rgb.shape[2] == 3
        assert picture.rgb.size <= 3 * MAX_PIXELS
