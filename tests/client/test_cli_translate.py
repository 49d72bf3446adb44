"""`muserve translate` and `muserve verify` of translations, against a real server."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muserve.v1 import manifest_pb2
from muserve_client.calls.translation.probe import PROBES
from muserve_client.cli import main
from tests.client.conftest import Served
from tests.server.pictorial import image_file, read_png, scene


@pytest.fixture
def photo(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, translator: Served) -> str:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MUSERVE_SERVER", translator.target)
    Path("photo.jpg").write_bytes(image_file(scene(30, 50), "JPEG"))
    return "photo.jpg"


def test_a_photo_becomes_a_map(photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", photo, "--to", "map", "--out", "out/map.png"]) == 0
    assert capsys.readouterr().out.splitlines() == [
        "saved out/map.png: photo to map, 50 × 30", "model scenes, version 1",
    ]  # fmt: skip
    assert read_png(Path("out/map.png").read_bytes())[0].shape == (30, 50, 3)


def test_the_way_back_and_the_row_of_pictures(photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    flags = ["--to", "map", "--cycle", "back.png", "--side-by-side", "row.png"]
    assert main(["translate", photo, *flags]) == 0
    first, back, row, model = capsys.readouterr().out.splitlines()
    assert (first, row) == ("saved photo-map.png: photo to map, 50 × 30", "saved row.png: side by side")
    assert back.startswith("saved back.png: and back to photo, ")
    assert back.endswith(" of 255 off on average")
    assert model == "model scenes, version 1"
    assert read_png(Path("row.png").read_bytes())[0].shape == (30, 3 * 58 - 8, 3)
    assert main(["translate", photo, "--model", "negatives", "--version", "1"]) == 0
    assert capsys.readouterr().out.startswith("saved photo-negative.png: positive to negative, 50 × 30\n")


@pytest.mark.parametrize(
    ("flags", "code", "text"),
    [
        (["photo.jpg", "--out", "map.jpg"], 2, "--out is 'map.jpg'; it must end with .png"),
        (["photo.jpg", "--side-by-side", "."], 2, "--side-by-side is '.'; it must end with .png"),
        (["photo.png", "--cycle", "photo.png"], 2, "--cycle would write over photo.png, which is translated"),
        (["photo.jpg", "--out", "a.png", "--cycle", "./a.png"], 2, "--out and --cycle must be different files"),
        (["photo.jpg"], 1, "target: is not set; valid: map, photo"),
        (["photo.jpg", "--to", "mapp"], 1, "target: is 'mapp'; did you mean 'map'?"),
        (["nothing.jpg", "--to", "map"], 1, "nothing.jpg: No such file"),
        (["text.png", "--to", "map"], 1, "image: is not a supported image file"),
    ],
)
def test_what_is_wrong_is_said(
    photo: str, flags: list[str], code: int, text: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("photo.png").write_bytes(image_file(scene(3, 3)))
    Path("text.png").write_text("no image")
    assert main(["translate", *flags]) == code
    assert text in capsys.readouterr().err
    assert sorted(path.name for path in Path.cwd().iterdir()) == ["photo.jpg", "photo.png", "text.png"]


def test_a_default_name_is_never_that_of_the_source(photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    Path("photo-map.png").symlink_to("photo.jpg")
    assert main(["translate", photo, "--to", "map"]) == 2
    assert "--out would write over photo.jpg" in capsys.readouterr().err


def test_a_default_name_is_never_that_of_another_picture(photo: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["translate", photo, "--to", "map", "--cycle", "photo-map.png"]) == 2
    assert "--out and --cycle must be different files" in capsys.readouterr().err
    assert not Path("photo-map.png").exists()


def test_a_real_server_is_deterministic(translator: Served, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify", "--server", translator.target, "--rounds", "2"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert all(line.startswith("ok      ") for line in lines[:-1])
    crowds = [line for line in lines if re.search(r"default: amid 16 other calls, (in one|but in no) batch", line)]
    assert len(crowds) == 4
    assert lines[-1] == "10 of 10 checks passed"


@pytest.mark.parametrize(("directions", "cycle"), [(2, True), (1, False), (0, False)])
def test_the_small_request_goes_beyond_a_tile_and_back_where_the_model_can(directions: int, cycle: bool) -> None:
    settings = manifest_pb2.TranslationSettings(tile_size=16)
    for index in range(directions):
        settings.directions.add(source="ab"[index], target="ba"[index])
    (probe,) = PROBES
    request = probe.default(manifest_pb2.ModelManifest(translation=settings))
    assert (request.cycle, request.target) == (cycle, "b" if directions else "")
    others = [probe.other(request, index) for index in range(48)]
    assert len({other.image for other in others}) == 48
    for one in (request, *others):
        with Image.open(io.BytesIO(one.image)) as image:
            assert np.asarray(image).std() > 30
    with Image.open(io.BytesIO(request.image)) as image:
        assert image.size == (17, 16)
