"""Translations from a real server, through both skins, of whatever people hold an image in."""

from __future__ import annotations

import asyncio
import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from muserve_client import AsyncClient, Client, InvalidRequestError, Picture, Translation, __version__
from muserve_client.fields import Fields
from muserve_client.image_files import image_bytes
from tests.client.conftest import Served
from tests.client.fakes import Skin, both_skins, call
from tests.server.pictorial import exif, image_file, scene

PIXELS = scene(20, 45)


def negative(target: str, image: Any) -> np.ndarray[Any, Any]:
    """What a server makes 255 minus the value of: shows what was sent."""
    with Client(target) as client:
        return 255 - client.translate(image, model="negatives").to_numpy()


@both_skins
def test_a_translation_says_who_made_it(skin: Skin, translator: Served) -> None:
    found = call(skin, translator.target, "translate", image_file(PIXELS), target="map", request_id="my-call")
    assert isinstance(found, Translation)
    assert (found.width, found.height, found.source, found.target) == (45, 20, "photo", "map")
    info = found.info
    assert (info.model, info.version, info.request_id, info.server_version) == ("scenes", 1, "my-call", __version__)
    assert info.timings.compute_s > 0
    assert (found.facts["source"], found.facts["target"], found.facts["digest"]) == ("photo", "map", info.digest)
    assert (found.cycle, found.side_by_side) == (None, None)
    assert "png" not in repr(found)


@both_skins
def test_the_way_back_and_the_row_of_pictures_come_if_asked_for(skin: Skin, translator: Served) -> None:
    found = call(skin, translator.target, "translate", PIXELS, "map", cycle=True, side_by_side=True)
    assert found.cycle.to_numpy().shape == PIXELS.shape
    expected = np.abs(found.cycle.to_numpy().astype(float) - PIXELS).mean()
    assert found.cycle.mean_absolute_error == pytest.approx(expected)
    sheet = found.side_by_side
    assert (type(sheet), sheet.width, sheet.height) == (Picture, 3 * 45 + 16, 20)
    np.testing.assert_array_equal(sheet.to_numpy()[:, :45], PIXELS)
    np.testing.assert_array_equal(sheet.to_numpy()[:, 53:98], found.to_numpy())


def test_it_is_saved_and_shown(translator: Served, tmp_path: Path) -> None:
    with Client(translator.target) as client:
        found = client.translate(PIXELS, target="map", cycle=True)
    assert found.cycle is not None
    for picture in (found, found.cycle):
        path = picture.save(tmp_path / "new" / "map.png")
        assert path.read_bytes() == picture.png == picture._repr_png_()
        assert picture.to_pil().size == (45, 20)


def test_every_form_of_an_image_is_taken(translator: Served, tmp_path: Path) -> None:
    data = image_file(PIXELS)
    path = tmp_path / "photo.png"
    path.write_bytes(data)
    with Client(translator.target) as client:
        ours = client.translate(255 - PIXELS, model="negatives")
    opened = Image.open(path)
    with path.open("rb") as file, opened:
        for image in (
            data, bytearray(data), memoryview(data), path, str(path), file, io.BytesIO(data), ours, opened,
            Image.fromarray(PIXELS), PIXELS, np.asfortranarray(PIXELS),
        ):  # fmt: skip
            np.testing.assert_array_equal(negative(translator.target, image), PIXELS)


@pytest.mark.parametrize("shape", [(3, 5), (3, 5, 1), (3, 5, 3), (3, 5, 4), (1, 1)])
def test_an_array_may_be_grey_coloured_or_transparent(translator: Served, shape: tuple[int, ...]) -> None:
    array = np.random.default_rng(0).integers(0, 256, shape, dtype=np.uint8)
    sent = negative(translator.target, array)
    colours = array if array.ndim == 3 else array[..., None]
    if colours.shape[2] == 4:
        np.testing.assert_array_equal(255 - sent[..., 3], colours[..., 3])  # which is no colour
    np.testing.assert_array_equal(sent[..., :3], np.broadcast_to(colours[..., :3], (*shape[:2], 3)))


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGBA", "CMYK", "HSV", "YCbCr"])
def test_a_pillow_image_may_have_any_mode_that_has_colours(translator: Served, mode: str) -> None:
    image = Image.fromarray(PIXELS).convert(mode)
    expected = np.asarray(image.convert("RGBA" if mode in ("LA", "RGBA") else "RGB"))[..., :3]
    np.testing.assert_array_equal(negative(translator.target, image), expected)


def test_a_file_is_turned_upright_and_what_is_decoded_already_is_taken_as_it_is(
    translator: Served, tmp_path: Path
) -> None:
    path = tmp_path / "turned.png"
    path.write_bytes(image_file(PIXELS, exif=exif(6)))
    assert negative(translator.target, path).shape == (45, 20, 3)
    with Image.open(path) as image:
        assert negative(translator.target, image).shape == (20, 45, 3)


@both_skins
@pytest.mark.parametrize(
    ("image", "text"),
    [
        (None, "is of the type NoneType; allowed: a path, the bytes of a PNG, JPEG or WebP file, "),
        (7, "is of the type int"),
        (io.StringIO("text"), "is of the type StringIO"),
        ([[0, 1]], "is of the type list"),
        (np.zeros((2, 3)), r"is an array of float64 with the shape \(2, 3\); allowed: uint8, \[height, width\], "),
        (np.zeros((2, 3, 2), np.uint8), r"with the shape \(2, 3, 2\)"),
        (np.zeros((0, 3), np.uint8), r"with the shape \(0, 3\)"),
        (np.zeros(3, np.uint8), r"with the shape \(3,\)"),
        (Image.new("F", (2, 2)), "is a Pillow image of 2 × 2 pixels in the mode 'F'"),
        (Image.new("RGB", (0, 2)), "is a Pillow image of 0 × 2 pixels"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_sent_is_refused_before_the_call(skin: Skin, image: Any, text: str) -> None:
    with pytest.raises(InvalidRequestError, match=f"^image: .*{text}"):
        call(skin, "localhost:1", "translate", image, "map")


@both_skins
def test_what_is_wrong_is_said_by_field(skin: Skin, translator: Served) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        call(skin, translator.target, "translate", b"GIF89a", target="mapp")
    assert {violation.field: violation.description for violation in caught.value.violations} == {
        "image": "is a GIF file; allowed: PNG, JPEG or WebP",
        "target": "is 'mapp'; did you mean 'map'?",
    }
    with pytest.raises(InvalidRequestError, match=r"^cycle: negatives/1 translates in one direction only"):
        call(skin, translator.target, "translate", PIXELS, model="negatives", cycle=True)
    with pytest.raises(FileNotFoundError):
        call(skin, translator.target, "translate", "nothing.png", target="map")


def test_what_is_written_for_arrays_is_the_png_of_any_other_program() -> None:
    for shape in ((7, 5), (7, 5, 3), (7, 5, 4)):
        array = np.random.default_rng(1).integers(0, 256, shape, dtype=np.uint8)
        with Image.open(io.BytesIO(image_bytes(Fields(), array))) as image:
            np.testing.assert_array_equal(np.asarray(image), array)


async def test_tasks_share_a_client(translator: Served) -> None:
    images = [scene(10 + seed, 70 - seed, seed) for seed in range(4)]
    async with AsyncClient(translator.target) as client:
        expected = [(await client.translate(image, "map")).png for image in images]
        answers = await asyncio.gather(*(client.translate(images[i % 4], "map") for i in range(16)))
    assert [answer.png for answer in answers] == expected * 4
