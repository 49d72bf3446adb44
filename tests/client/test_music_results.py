"""What becomes of music: files, mido, notebooks."""

from __future__ import annotations

import sys
from pathlib import Path

import mido
import pytest

from muserve_client import Accompaniment, Client, Info, Music, Piece, Quantisation, Timings
from tests.client.fakes import call
from tests.client.musicians import band, notes_of

INFO = Info("band", 3, "d" * 64, 42, Timings(0.0, 0.0, 0.0), 2, "id", "0")


def piece(sample: int, style: str = "rock", *, piano_roll: bytes | None = None) -> Piece:
    return Piece(f"midi {sample}".encode(), sample, style, 120.0, 4, (), piano_roll)


def music(*styles: str, first: int = 7) -> Music:
    pieces = (piece(first + i, style, piano_roll=f"png {first + i}".encode()) for i, style in enumerate(styles))
    return Music(tuple(pieces), INFO)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.parametrize("name", ["x.mid", "x.MID", "x.midi"])
def test_a_piece_is_saved_with_the_folders_above_it(tmp_path: Path, name: str) -> None:
    path = piece(1).save(tmp_path / "a/b" / name)
    assert path == tmp_path / "a/b" / name
    assert path.read_bytes() == b"midi 1"


def test_the_ending_png_saves_the_piano_roll(tmp_path: Path) -> None:
    assert piece(1, piano_roll=b"png").save(tmp_path / "x.png").read_bytes() == b"png"
    with pytest.raises(ValueError, match="request it with piano_roll=True"):
        piece(1).save(tmp_path / "y.png")
    assert names(tmp_path) == ["x.png"]


@pytest.mark.parametrize("name", ["x.wav", "x", "x.mid.txt"])
def test_an_ending_that_means_nothing_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match=r"allowed: \.mid, \.midi, \.png"):
        piece(1).save(tmp_path / name)
    assert names(tmp_path) == []


def test_one_piece_goes_into_one_file(tmp_path: Path) -> None:
    assert music("rock").save(str(tmp_path / "x.mid")) == [tmp_path / "x.mid"]
    assert music("rock").save(tmp_path / "x.png") == [tmp_path / "x.png"]
    assert (tmp_path / "x.png").read_bytes() == b"png 7"


def test_a_set_goes_into_a_folder(tmp_path: Path) -> None:
    paths = music("rock", "samba").save(tmp_path / "out")
    assert paths == [tmp_path / "out/band-42-7.mid", tmp_path / "out/band-42-8.mid"]
    assert [path.read_bytes() for path in paths] == [b"midi 7", b"midi 8"]


def test_a_pattern_names_the_files(tmp_path: Path) -> None:
    where = tmp_path / "{model}-{version}/{style}-{seed}-{sample:03}-{index}.mid"
    paths = music("rock", "../samba").save(where)
    assert [str(path.relative_to(tmp_path)) for path in paths] == [
        "band-3/rock-42-007-0.mid",
        "band-3/_samba-42-008-1.mid",
    ]
    rolls = music("rock", "samba").save(tmp_path / "{sample}.png")
    assert [path.read_bytes() for path in rolls] == [b"png 7", b"png 8"]


@pytest.mark.parametrize("where", ["x.mid", "{style}.mid"])
def test_several_pieces_do_not_overwrite_each_other(tmp_path: Path, where: str) -> None:
    with pytest.raises(ValueError, match=r"gives 2 files the same path; give a folder, or a pattern with \{sample\}"):
        music("rock", "rock").save(tmp_path / where)
    assert names(tmp_path) == []


@pytest.mark.parametrize("pattern", ["{stile}.mid", "{style.__class__}.mid", "{}.mid", "{style"])
def test_an_unknown_field_is_refused(tmp_path: Path, pattern: str) -> None:
    with pytest.raises(ValueError):
        music("rock").save(tmp_path / pattern)
    assert names(tmp_path) == []


def test_mido_reads_what_was_written(tmp_path: Path) -> None:
    with band() as server:
        found = call(Client, server.target, "music", "rock", bars=2, seed=3)[0]
    file = found.to_mido()
    assert isinstance(file, mido.MidiFile)
    assert [track.name for track in file.tracks] == ["", "Drums", "Keys", "Bass"]
    assert notes_of(file.tracks[1]) == notes_of(mido.MidiFile(found.save(tmp_path / "x.mid")).tracks[1])
    assert len(notes_of(file.tracks[1])) == 2


def test_a_file_says_how_it_was_made() -> None:
    with band() as server:
        found = call(Client, server.target, "music", "rock", seed=2**64 - 1, first_sample=9)[0]
    assert found.facts == {"model": "band", "seed": 2**64 - 1, "sample": 9, "style": "rock"}


@pytest.mark.parametrize("midi", [b"", b"MThd", b"muserve ", b"muserve {", b"muserve {]", b'muserve {"a": \xff', b"{}"])
def test_a_file_that_says_nothing_has_no_facts(midi: bytes) -> None:
    assert Piece(midi, 0, "", 120.0, 4, ()).facts == {}


def test_facts_end_where_their_text_ends() -> None:
    assert Piece(b'\x80muserve {"style": "caf\xc3\xa9"}\x00\xff/\x00}', 0, "", 120.0, 4, ()).facts == {"style": "café"}


def test_without_mido_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "mido", None)
    with pytest.raises(ModuleNotFoundError, match=r"to_mido needs mido, .*: pip install 'muserve\[midi\]'"):
        piece(1).to_mido()


def test_notebooks_show_the_piano_roll_that_was_asked_for() -> None:
    assert piece(1, piano_roll=b"png")._repr_png_() == b"png"
    assert piece(1)._repr_png_() is None
    assert music("rock")._repr_png_() == b"png 7"
    assert music("rock", "rock")._repr_png_() is None
    assert Music((), INFO)._repr_png_() is None


def test_what_is_printed_is_short() -> None:
    assert repr(music("rock", "rock")) == "<Music: 2 pieces, 4 bars, by band/3, seed 42>"
    assert repr(Music((), INFO)) == "<Music: 0 pieces, 0 bars, by band/3, seed 42>"
    accompaniment = Accompaniment((piece(1),), INFO, {1: "bass"}, Quantisation(4, 0, 0.1, 0.9, 4))
    assert repr(accompaniment) == "<Accompaniment: 1 piece, 4 bars, by band/3, seed 42>"
    assert "midi" not in repr(piece(1, piano_roll=b"png"))
