"""The translation family's data: the split of the Earth, a user's folders, classes of a map's pixels."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from muserve.configuration import build
from muserve_export.errors import DataError
from muserve_export.families.translation.classes import MapClasses
from muserve_export.families.translation.config import TranslationConfig
from muserve_export.families.translation.data import TranslationData, load_data, read_image
from muserve_export.families.translation.sources import REGION, collect, plan_regions
from tests.export.translation_images import write_seasons


@pytest.fixture(scope="module")
def earth(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The data of the bundled model."""
    folder = tmp_path_factory.mktemp("earth")
    collect(folder, [])
    return folder


@pytest.fixture
def seasons(tmp_path: Path) -> Path:
    return write_seasons(tmp_path / "seasons")


def load(folder: Path, **values: Any) -> TranslationData:
    return load_data(build(TranslationConfig, {"data": str(folder), "crop_size": 32}, values))


def names(folder: Path, part: str) -> set[str]:
    return {path.name for path in (folder / part).iterdir()}


def made_earth() -> np.ndarray:
    """Land everywhere, green and dry in turn."""
    satellite = np.zeros((2700, 5400, 3), np.uint8)
    satellite[..., 1] = 90
    satellite[:, ::2, 0] = 200
    return satellite


def test_regions_do_not_touch_each_other() -> None:
    regions = plan_regions(made_earth())
    seen = np.zeros((2700, 5400), np.int64)
    for region in regions:
        assert seen[region.box].shape == (256, 256)
        rows, columns = region.box
        # With half of what lies between: a second region there would be seen.
        seen[rows.start - 7 : rows.stop + 7, columns.start - 7 : columns.stop + 7] += 1
    assert seen.max() == 1
    assert len({region.name for region in regions}) == len(regions) == 9 * 20 - 10  # every second of the last row
    assert regions == plan_regions(made_earth())


def test_parts_have_their_shares_in_every_zone() -> None:
    regions = plan_regions(made_earth())
    shares = {part: count / len(regions) for part, count in Counter(one.part for one in regions).items()}
    assert shares == pytest.approx({"A": 4 / 11, "B": 4 / 11, "T": 2 / 11, "V": 1 / 11}, abs=0.02)
    for zone in range(4):
        assert {one.part for one in regions if one.row // 2 == zone} == set("ABTV")


def test_the_sea_is_left_out() -> None:
    satellite = made_earth()
    satellite[:, 2700:] = (5, 17, 43)
    assert {region.column for region in plan_regions(satellite)} == set(range(2700 // REGION))


def test_the_bundled_data_are_unpaired_and_hold_out_whole_regions(earth: Path) -> None:
    first, second = names(earth, "trainA"), names(earth, "trainB")
    assert (len(first), len(second)) == (35, 35)
    assert not first & second
    assert names(earth, "pairedA") == names(earth, "pairedB") == first | second
    held = names(earth, "testA") | names(earth, "validationA")
    assert names(earth, "testA") == names(earth, "testB")
    assert names(earth, "validationA") == names(earth, "validationB")
    assert (len(names(earth, "testA")), len(held)) == (18, 27)
    assert not held & (first | second)
    data = load_data(build(TranslationConfig, {"data": str(earth)}))
    assert data.source.licence.startswith("MIT")
    assert data.source.split.endswith("dealt out by place, seed 0")
    assert (data.folder / "largeA").is_dir()


def test_every_class_of_the_map_is_in_every_part(earth: Path) -> None:
    classes = MapClasses.read(earth)
    assert classes is not None
    assert (classes.domain, len(classes.names)) == ("B", 6)
    for part in ("trainB", "validationB", "testB"):
        labels = classes.label(np.stack([read_image(path) for path in (earth / part).iterdir()]))
        assert np.bincount(labels.ravel(), minlength=6).min() / labels.size > 0.01
    # The Pacific, the North Sea, Antarctica, the Congo, the Sahara, Tibet.
    known = [(120, 168, 205), (203, 222, 239), (243, 243, 248), (130, 176, 154), (190, 180, 166), (216, 218, 217)]
    typical = np.array(known, np.uint8)
    assert [classes.names[index] for index in classes.label(typical)] == [
        "deep water", "shallow water", "ice", "green lowland", "dry or high land", "dry or high land",
    ]  # fmt: skip


def test_the_same_data_are_made_again_and_nothing_is_overwritten(earth: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="is not empty; remove it"):
        collect(earth, [])
    with pytest.raises(DataError, match=r"bmng\.jpg: cannot be read as an image"):
        collect(tmp_path / "new", [tmp_path])
    with pytest.raises(DataError, match="2 sources were given"):
        collect(tmp_path / "new", [tmp_path, tmp_path])
    Image.new("RGB", (40, 20)).save(tmp_path / "bmng.jpg")
    with pytest.raises(DataError, match="has 40 × 20 pixels"):
        collect(tmp_path / "new", [tmp_path])


def test_classes_are_kept_and_a_pixel_is_of_the_nearest(tmp_path: Path) -> None:
    MapClasses("A", {"water": ((0, 0, 200), (0, 0, 90)), "land": ((0, 150, 0),)}).write(tmp_path)
    classes = MapClasses.read(tmp_path)
    assert classes is not None
    assert (classes.domain, classes.names) == ("A", ("water", "land"))
    pixels = np.array([[[0, 20, 210], [20, 160, 10]], [[10, 10, 80], [0, 90, 0]]], np.uint8)
    assert classes.label(pixels).tolist() == [[0, 1], [0, 1]]
    assert MapClasses.read(tmp_path / "nowhere") is None


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("{", "cannot be read as classes"),
        ("[]", "cannot be read as classes"),
        (json.dumps({"domain": "C", "classes": {"a": [[1, 2, 3]]}}), "must have a domain, A or B"),
        (json.dumps({"domain": "A", "classes": {"a": [1, 2, 3]}}), "each with a list of colours"),
        (json.dumps({"domain": "A", "classes": {"a": [[1, 2, 300]]}}), "colours of 0 up to 255"),
        (json.dumps({"domain": "A", "classes": {"a": []}}), "classes with colours"),
    ],
)
def test_broken_classes_are_named(tmp_path: Path, content: str, message: str) -> None:
    (tmp_path / "classes.json").write_text(content)
    with pytest.raises(DataError, match=message):
        MapClasses.read(tmp_path)


def test_crops_are_of_both_folders_and_reproducible(seasons: Path) -> None:
    data = load(seasons).training
    assert len(data) == 7
    torch.manual_seed(3)
    first, second = data.batch(torch.arange(7))
    assert first.shape == second.shape == (7, 3, 32, 32)
    assert first.dtype == torch.float32
    assert -1 <= first.min() < -0.2 < 0.5 < second.max() <= 1
    torch.manual_seed(3)
    assert torch.equal(data.batch(torch.arange(7))[1], second)
    assert len(load(seasons, images_per_epoch=20).training) == 20
    load(seasons, images_per_epoch=20).training.batch(torch.tensor([19]))


def test_pairs_are_cropped_and_mirrored_alike(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    for side in "AB":
        (tmp_path / f"train{side}").mkdir()
    for name in ("one", "two"):
        pixels = random.integers(0, 256, (50, 60, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / "trainA" / f"{name}.png")
        Image.fromarray(255 - pixels).save(tmp_path / "trainB" / f"{name}.webp", lossless=True)
    Image.new("RGB", (40, 40)).save(tmp_path / "trainB" / "alone.png")
    paired = load(tmp_path, architecture="paired").training
    first, second = paired.batch(torch.tensor([0, 1, 1, 0]))
    assert torch.allclose(first, -second, atol=1e-6)
    first, second = load(tmp_path).training.batch(torch.tensor([0, 1, 1, 0]))
    assert not torch.allclose(first, -second, atol=0.1)


def test_mirroring_can_be_left_out(tmp_path: Path) -> None:
    for side in "AB":
        (tmp_path / f"train{side}").mkdir()
        Image.fromarray(np.tile(np.arange(32, dtype=np.uint8) * 8, (32, 1))).save(tmp_path / f"train{side}" / "a.png")
    for flip, directions in ((True, {True, False}), (False, {True})):
        crops = load(tmp_path, flip=flip).training.batch(torch.zeros(30, dtype=torch.int64))[0]
        assert {bool(crop[0, 0, 0] < crop[0, 0, -1]) for crop in crops} == directions


def test_images_are_scaled_by_their_shorter_side_and_small_ones_up_to_a_crop(tmp_path: Path) -> None:
    for side, size in (("A", (100, 50)), ("B", (10, 20))):
        (tmp_path / f"train{side}").mkdir()
        Image.new("RGB", size, "teal").save(tmp_path / f"train{side}" / "a.png")
    training = load(tmp_path, load_size=40).training
    assert [image.shape for (image,) in training._images] == [(40, 80, 3), (80, 40, 3)]
    training = load(tmp_path).training
    assert [image.shape for (image,) in training._images] == [(50, 100, 3), (64, 32, 3)]


def test_images_of_all_kinds_are_read_upright_as_rgb(tmp_path: Path) -> None:
    upright = Image.new("RGB", (8, 4), "red")
    exif = upright.getexif()
    exif[0x0112] = 6
    upright.save(tmp_path / "turned.jpg", exif=exif)
    assert read_image(tmp_path / "turned.jpg").shape == (8, 4, 3)
    Image.new("L", (4, 4), 90).save(tmp_path / "grey.webp", lossless=True)
    assert read_image(tmp_path / "grey.webp")[0, 0].tolist() == [90, 90, 90]
    Image.fromarray(np.full((4, 4), 32896, np.uint16)).save(tmp_path / "deep.png")
    assert read_image(tmp_path / "deep.png")[0, 0].tolist() == [128, 128, 128]
    Image.new("RGBA", (4, 4), (0, 0, 0, 0)).save(tmp_path / "clear.png")
    assert read_image(tmp_path / "clear.png")[0, 0].tolist() == [255, 255, 255]
    Image.new("RGBA", (4, 4), (0, 100, 200, 128)).save(tmp_path / "half.png")
    assert read_image(tmp_path / "half.png")[0, 0].tolist() == [127, 177, 227]
    Image.new("CMYK", (4, 4), (0, 0, 0, 255)).save(tmp_path / "print.jpg")
    assert read_image(tmp_path / "print.jpg").max() < 40


def test_a_broken_image_is_named(seasons: Path) -> None:
    (seasons / "trainB" / "broken.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(DataError, match=r"broken\.png: cannot be read as an image"):
        _ = load(seasons).training


def test_two_images_of_one_name_are_refused(seasons: Path) -> None:
    path = next((seasons / "trainA").iterdir())
    Image.new("RGB", (64, 64)).save(path.with_suffix(".webp"))
    with pytest.raises(DataError, match=r"\.webp and .* have the same name without their endings; rename one"):
        load(seasons)


def test_missing_folders_and_pairs_are_explained(seasons: Path, tmp_path: Path) -> None:
    with pytest.raises(DataError, match="which is no folder"):
        load(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"trainA has no images; put those of one domain into trainA"):
        _ = load(tmp_path / "empty").training
    for side in "AB":
        for path in (seasons / f"train{side}").iterdir():
            path.rename(path.with_name(f"{side}{path.name}"))
    with pytest.raises(DataError, match="has no pairs to learn from"):
        _ = load(seasons, architecture="paired").training


def test_without_data_the_command_that_makes_them_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(DataError, match="make it first: muserve-export data translation"):
        load_data(TranslationConfig())


def test_the_digest_follows_every_file(seasons: Path) -> None:
    before = load(seasons).sha256
    assert load(seasons, load_size=64).sha256 == before
    path = seasons / "testB" / "00.png"
    path.rename(path.with_name("renamed.png"))
    assert (between := load(seasons).sha256) != before
    Image.new("RGB", (64, 64)).save(path.with_name("renamed.png"))
    assert load(seasons).sha256 not in (before, between)
