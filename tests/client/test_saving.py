"""What becomes of an answer: files, Pillow, notebooks."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from muserve_client import Client, Image, Images, Info, Timings
from muserve_client.saving import write_file
from tests.client.conftest import Served
from tests.client.fakes import call

INFO = Info("digits", 3, "d" * 64, 42, Timings(0.0, 0.0, 0.0), 2, "id", "0")


def images(*labels: str, first: int = 7) -> Images:
    return Images(
        tuple(Image(f"png {i}".encode(), 1, 1, first + i, (label,) if label else ()) for i, label in enumerate(labels)),
        INFO,
    )


def test_an_image_is_saved_with_the_folders_above_it(tmp_path: Path) -> None:
    path = images("a")[0].save(tmp_path / "a/b/x.png")
    assert path == tmp_path / "a/b/x.png"
    assert path.read_bytes() == b"png 0"
    assert path.stat().st_mode & 0o777 == 0o666 & ~_umask()
    assert names(path.parent) == ["x.png"]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    path = tmp_path / "x.png"
    write_file(path, b"old")
    with path.open("rb") as reader:
        write_file(str(path), b"new")
        assert reader.read() == b"old"  # who had it open still reads the old one
    assert path.read_bytes() == b"new"


def test_a_failed_save_leaves_what_was_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = write_file(tmp_path / "x.png", b"old")

    def refuse(*_: object) -> None:
        raise OSError("no space")

    monkeypatch.setattr(Path, "replace", refuse)
    with pytest.raises(OSError, match="no space"):
        write_file(path, b"new")
    assert path.read_bytes() == b"old"
    assert names(tmp_path) == ["x.png"]


def test_a_folder_is_no_file(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="give the path of a file"):
        images("a")[0].save(tmp_path)


def test_a_set_goes_into_a_folder(tmp_path: Path) -> None:
    paths = images("", "").save(tmp_path / "out")
    assert paths == [tmp_path / "out/digits-42-7.png", tmp_path / "out/digits-42-8.png"]
    assert [path.read_bytes() for path in paths] == [b"png 0", b"png 1"]


def test_a_folder_may_be_called_png(tmp_path: Path) -> None:
    (tmp_path / "x.png").mkdir()
    assert images("").save(tmp_path / "x.png") == [tmp_path / "x.png/digits-42-7.png"]


def test_one_image_goes_into_one_file(tmp_path: Path) -> None:
    assert images("").save(str(tmp_path / "x.PNG")) == [tmp_path / "x.PNG"]


def test_a_pattern_names_the_files(tmp_path: Path) -> None:
    paths = images("a", "b").save(tmp_path / "{model}-{version}/{label}-{seed}-{sample:03}-{index}.png")
    assert [str(path.relative_to(tmp_path)) for path in paths] == ["digits-3/a-42-007-0.png", "digits-3/b-42-008-1.png"]


def test_a_label_cannot_leave_the_folder(tmp_path: Path) -> None:
    paths = images("../../evil", "star/fish", "..").save(tmp_path / "{index}{label}.png")
    assert [path.name for path in paths] == ["0_.._evil.png", "1star_fish.png", "2.png"]
    assert {path.parent for path in paths} == {tmp_path}


def test_several_images_do_not_overwrite_each_other(tmp_path: Path) -> None:
    for where in ("x.png", "{label}.png"):
        with pytest.raises(ValueError, match="the same path"):
            images("a", "a").save(tmp_path / where)
    assert names(tmp_path) == []


@pytest.mark.parametrize("pattern", ["{lable}.png", "{label.__class__}.png", "{}.png", "{0}.png", "{label"])
def test_an_unknown_field_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ValueError):
        images("a").save(tmp_path / pattern)
    assert names(tmp_path) == []


def test_pillow_and_notebooks(served: Served) -> None:
    image = call(Client, served.target, "images", labels="circle", seed=1)[0]
    picture = image.to_pil()
    assert (picture.size, picture.mode) == ((image.width, image.height), "L")
    assert image._repr_png_() == image.png
    assert "png=" not in repr(image)


def test_without_pillow_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ModuleNotFoundError, match="pip install pillow"):
        images("a")[0].to_pil()


def chunk(kind: bytes, content: bytes) -> bytes:
    return len(content).to_bytes(4, "big") + kind + content + b"sums"


@pytest.mark.parametrize(
    "chunks",
    [
        b"",
        b"\0\0",
        chunk(b"tEXt", b"other\0{}"),
        chunk(b"tEXt", b"muserve\0{"),
        chunk(b"tEXt", b"muserve\0[1]"),
        b"\xff\xff\xff\xfftEXtmuserve",
        chunk(b"IDAT", b"muserve\0{}"),
    ],
)
def test_a_png_that_says_nothing_has_no_facts(chunks: bytes) -> None:
    assert Image(b"\x89PNG\r\n\x1a\n" + chunks, 1, 1, 0).facts == {}
    assert Image(b"JFIF" + chunk(b"tEXt", b'muserve\0{"seed":1}'), 1, 1, 0).facts == {}


def test_facts_stand_behind_other_chunks() -> None:
    png = b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", bytes(13)) + chunk(b"tEXt", b'muserve\0{"seed":18446744073709551615}')
    assert Image(png, 1, 1, 0).facts == {"seed": 2**64 - 1}


def names(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir()]


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask
