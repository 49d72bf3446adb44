"""Images through a bundle as a server would translate them; and sheets of what came of some."""

from __future__ import annotations

import io

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps

from muserve.v1 import translation_pb2
from muserve_export.families.translation.data import TranslationData, read_image
from muserve_server.model import LocalModel
from muserve_server.tasks.media.png import encode_png

__all__ = ["SEED", "choose", "draw_sheet", "translate"]

SEED = 20_000
_THUMBNAIL, _GAP, _ACROSS = 128, 2, 3

Pixels = NDArray[np.uint8]


async def translate(model: LocalModel, pixels: Pixels, target: str, *, cycle: bool = False) -> tuple[Pixels, Pixels]:
    """Translates one image.

    Args:
        model: An opened bundle.
        pixels: [row, column, 3].
        target: Name of the domain to translate into.
        cycle: Whether to translate back too.

    Returns:
        The translation, and what came back: the translation again if `cycle` was not asked for.
    """
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", compress_level=1)
    request = translation_pb2.TranslateImageRequest(image=buffer.getvalue(), target=target, cycle=cycle)
    response = await model.answer(request)
    translation = _decode(response.png)
    return translation, _decode(response.cycle.png) if cycle else translation


def choose(names: list[str], count: int) -> list[str]:
    """Chooses some by seed, in order."""
    chosen = np.random.default_rng(SEED).permutation(len(names))[:count]
    return [names[index] for index in sorted(chosen.tolist())]


async def draw_sheet(model: LocalModel, data: TranslationData, part: str, side: str, *, count: int) -> bytes:
    """Draws places chosen by seed, three a row: image, translation, truth if there is one, the way back.

    Args:
        model: An opened bundle.
        data: Where the images are.
        part: test, validation or train.
        side: A to translate A into B, or B.
        count: Most places.

    Returns:
        A PNG.
    """
    paired = data.pairs(part)
    names = choose(paired or list(data.files(part, side)), count)
    other = "B" if side == "A" else "A"
    directions = model.bundle.manifest.translation.directions
    target = directions["AB".index(side)].target
    cells = []
    for name in names:
        image = read_image(data.path(part, side, name))
        translation, restored = await translate(model, image, target, cycle=len(directions) > 1)
        truth = [read_image(data.path(part, other, name))] if paired else []
        cells.append(np.stack([_thumbnail(picture) for picture in (image, translation, *truth, restored)]))
    return encode_png(_lay_out(np.stack(cells)), {"part": part, "target": target, "places": names})


def _thumbnail(pixels: Pixels) -> Pixels:
    return np.asarray(ImageOps.pad(Image.fromarray(pixels), (_THUMBNAIL, _THUMBNAIL)), dtype=np.uint8)


def _lay_out(cells: NDArray[np.uint8]) -> Pixels:
    """Lays out [place, picture, row, column, 3], three places a row, their pictures side by side."""
    places, pictures, size = cells.shape[:3]
    across = min(_ACROSS, places)
    rows = -(-places // across)
    width = across * (pictures * (size + _GAP) + 3 * _GAP) - 4 * _GAP
    sheet = np.full((rows * (size + _GAP) - _GAP, width, 3), 255, np.uint8)
    for index, place in enumerate(cells):
        for picture, pixels in enumerate(place):
            top = index // across * (size + _GAP)
            left = index % across * (pictures * (size + _GAP) + 3 * _GAP) + picture * (size + _GAP)
            sheet[top : top + size, left : left + size] = pixels
    return sheet


def _decode(png: bytes) -> Pixels:
    with Image.open(io.BytesIO(png)) as image:
        return np.asarray(image.convert("RGB"), dtype=np.uint8)
