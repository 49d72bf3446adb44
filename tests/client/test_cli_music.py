"""The commands `muserve music` and `muserve accompany`: MIDI files and piano rolls out, and what is told of them."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import mido
import pytest

from muserve.errors import FieldViolation, InvalidRequestError
from muserve.v1 import music_pb2
from muserve_client import Client
from muserve_client.cli import main
from tests.client.conftest import Served
from tests.client.fakes import FakeServer, fail, fake_server
from tests.client.musicians import band, notes_of, play


@pytest.fixture
def requests() -> list[Any]:
    return []


@pytest.fixture(autouse=True)
def server(tmp_path: Path, requests: list[Any], monkeypatch: pytest.MonkeyPatch) -> Iterator[FakeServer]:
    with band(requests) as fake:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("MUSERVE_SERVER", fake.target)
        yield fake


@pytest.fixture
def melody(server: FakeServer, requests: list[Any]) -> Path:
    """A file that plays the keys alone."""
    with Client(server.target) as client:
        client.music("rock", tracks="keys", seed=8, bars=1).save("melody.mid")
    requests.clear()
    return Path("melody.mid")


def run(text: str) -> int:
    try:
        return main(shlex.split(text))
    except SystemExit as error:
        return int(error.code or 0)


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_one_piece_is_one_file(tmp_path: Path, capsys: pytest.CaptureFixture[str], requests: list[Any]) -> None:
    assert run("music --style rock --tempo 96.5 --bars 16 --seed 5 --out a/song.mid --piano-roll a/roll.png") == 0
    assert capsys.readouterr().out.splitlines() == [
        "saved a/song.mid",
        "saved a/roll.png",
        "rock, 16 bars at 96.5 quarter notes a minute: drums, keys, bass",
        "model band, version 2, seed 5",
        "again: muserve music --tempo 96.5 --bars 16 --model band --version 2 --seed 5 --style rock "
        "--piano-roll a/roll.png --out a/song.mid",
    ]
    assert [track.name for track in mido.MidiFile(tmp_path / "a/song.mid").tracks] == ["", "Drums", "Keys", "Bass"]
    assert (tmp_path / "a/roll.png").read_bytes() == b"\x89PNG roll 0"
    expected = music_pb2.GenerateMusicRequest(style="rock", tempo_bpm=96.5, bars=16, seed=5, piano_roll=True)
    assert requests == [expected]


def test_several_pieces_are_numbered(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run("music --count 3 --first-sample 9 --seed 1 --out song.mid --piano-roll roll.png") == 0
    assert names(tmp_path) == [
        f"{name}-{n}.{end}" for name, end in (("roll", "png"), ("song", "mid")) for n in (10, 11, 9)
    ]
    lines = capsys.readouterr().out.splitlines()
    assert lines[:3] == [
        "saved 3 files: song-9.mid … song-11.mid",
        "saved 3 files: roll-9.png … roll-11.png",
        "3 pieces, rock and samba/reggae, 4 bars at 120 quarter notes a minute: drums, keys, bass",
    ]


@pytest.mark.parametrize(
    ("out", "found"),
    [
        ("out", "out/band-5-0.mid"),
        ("out.new/", "out.new/band-5-0.mid"),
        ("there.mid", "there.mid/band-5-0.mid"),
        ("'{style}/{index}.midi'", "rock/0.midi"),
        ("x.MID", "x.MID"),
    ],
)
def test_where_pieces_go(tmp_path: Path, out: str, found: str) -> None:
    (tmp_path / "there.mid").mkdir()
    assert run(f"music --style rock --seed 5 --out {out}") == 0
    assert (tmp_path / found).read_bytes().startswith(b"MThd")


def test_piano_rolls_may_go_into_a_folder(tmp_path: Path) -> None:
    assert run("music --style rock --seed 5 --count 2 --out out --piano-roll out") == 0
    assert names(tmp_path / "out") == ["band-5-0.mid", "band-5-0.png", "band-5-1.mid", "band-5-1.png"]


def test_without_out_the_file_is_called_after_the_seed(tmp_path: Path) -> None:
    assert run("music --seed 9") == 0
    assert run("music --seed 9 --count 2") == 0
    assert names(tmp_path) == ["band-9-0.mid", "band-9-1.mid", "band-9.mid"]


def test_options_reach_the_server(requests: list[Any]) -> None:
    assert run("music --tracks bass,drums --tracks keys --density 0.25 --model band --version 3 --out x.mid") == 0
    expected = music_pb2.GenerateMusicRequest(
        tracks=["bass", "drums", "keys"], density=0.25, model="band", version=3, piano_roll=False
    )
    assert requests == [expected]


@pytest.mark.parametrize(
    "flags",
    [
        "--out x.mid",
        "--out x.mid --style samba/reggae --tempo 60.5 --bars 2 --tracks bass --density 0.5 --first-sample 4",
        "--count 2 --out '{sample}x.mid' --piano-roll rolls/",
    ],
)
def test_the_printed_command_makes_the_same_again(
    tmp_path: Path, server: FakeServer, requests: list[Any], capsys: pytest.CaptureFixture[str], flags: str
) -> None:
    assert run(f"music --server {server.target} {flags}") == 0
    first = {path: path.read_bytes() for path in tmp_path.rglob("*.*")}
    for path in first:
        path.unlink()
    again = capsys.readouterr().out.split("again: muserve ")[1]
    assert f"--server {server.target}" in again
    assert run(again) == 0
    assert {path: path.read_bytes() for path in tmp_path.rglob("*.*")} == first
    before, after = requests
    before.model, before.version, before.seed = "band", 2, 53
    assert before == after


def test_an_accompaniment_keeps_the_file_and_tells_how_it_was_heard(
    melody: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = melody.read_bytes()
    assert run("accompany melody.mid --style rock --seed 4 --out out/band.mid --piano-roll out/band.png") == 0
    assert capsys.readouterr().out.splitlines() == [
        "saved out/band.mid",
        "saved out/band.png",
        "track 1 (Keys) is heard as keys",
        "1 note heard in 1 bar, 0.12 steps off the grid on average, 75% on it",
        "added drums, bass: rock, 1 bar at 120 quarter notes a minute",
        "model band, version 2, seed 4",
        "again: muserve accompany melody.mid --model band --version 2 --seed 4 --style rock "
        "--piano-roll out/band.png --out out/band.mid",
    ]
    assert melody.read_bytes() == before
    tracks = mido.MidiFile("out/band.mid").tracks
    assert [track.name for track in tracks] == ["", "Keys", "Drums", "Bass"]
    assert notes_of(tracks[1]) == notes_of(mido.MidiFile(melody).tracks[1])


def test_roles_can_be_said(melody: Path, requests: list[Any], capsys: pytest.CaptureFixture[str]) -> None:
    assert run("accompany melody.mid --role 1=bass --role 7= --tracks drums --seed 1 --out x.mid") == 0
    roles = [music_pb2.TrackRole(track=1, role="bass"), music_pb2.TrackRole(track=7)]
    assert requests == [music_pb2.AccompanyRequest(midi=melody.read_bytes(), roles=roles, tracks=["drums"], seed=1)]
    lines = capsys.readouterr().out.splitlines()
    assert "track 1 (Keys) is heard as bass" in lines
    assert "muserve accompany melody.mid --role 1=bass --role 7= --model band" in lines[-1]
    assert run("accompany melody.mid --role 1= --tracks drums --out x.mid") == 0
    assert "track 1 (Keys) is kept, but not listened to" in capsys.readouterr().out


def test_several_accompaniments_are_called_after_the_file(tmp_path: Path, melody: Path) -> None:
    Path("in").mkdir()
    melody.rename("in/a{b}.mid")
    assert run("accompany in/a{b}.mid --count 2 --seed 3") == 0
    assert run("accompany in/a{b}.mid --seed 3") == 0
    assert names(tmp_path) == ["a{b}-3-0.mid", "a{b}-3-1.mid", "a{b}-3.mid", "in"]


@pytest.mark.parametrize("out", ["melody.mid", "./melody.mid", "link.mid", "'{sample}.mid'"])
def test_the_file_itself_is_not_written_over(melody: Path, capsys: pytest.CaptureFixture[str], out: str) -> None:
    Path("link.mid").symlink_to("melody.mid")
    Path("0.mid").hardlink_to("melody.mid")
    before = melody.read_bytes()
    assert run(f"accompany melody.mid --out {out} --piano-roll roll.png") == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "--out would write over melody.mid, which is accompanied; name another file" in captured.err
    assert melody.read_bytes() == before
    assert not Path("roll.png").exists()


def test_what_fits_badly_is_said(melody: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def answer(request: Any, *_: Any) -> Any:
        response = play(request)
        fit = response.quantisation
        fit.notes, fit.folded_notes, fit.mean_error_steps, fit.on_grid_share = 40, 3, 0.234, 0.1
        response.roles.add(track=2, role="")  # the names of two tracks are then unknown
        return response

    with fake_server(answer) as fake:
        assert run(f"accompany melody.mid --server {fake.target} --out x.mid") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[1:5] == [
        "track 1 is heard as keys",
        "track 2 is kept, but not listened to",
        "40 notes heard in 1 bar, hardly in time: 0.23 steps off the grid on average, 10% on it; "
        "is the tempo in the file that of its notes?",
        "3 of them are heard octaves off, where the model's range ends",
    ]


def test_a_real_server(musician: Served, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    server = f"--server {musician.target}"
    assert (
        run(f"music {server} --style march --bars 3 --tracks bass --seed 1 --out bass.mid --piano-roll bass.png") == 0
    )
    assert run(f"accompany {server} bass.mid --style march --seed 2 --count 2 --out out/") == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[2] == "march, 3 bars at 110 quarter notes a minute: bass"
    assert lines[5:7] == [
        "saved 2 files: out/band-2-0.mid … out/band-2-1.mid",
        "track 1 (Bass) is heard as bass",
    ]
    assert lines[7].endswith(" notes heard in 3 bars, 0 steps off the grid on average, 100% on it")
    assert lines[8] == "added drums, keys: 2 pieces, march, 3 bars at 110 quarter notes a minute"
    given = notes_of(mido.MidiFile("bass.mid").tracks[1])
    assert notes_of(mido.MidiFile("out/band-2-1.mid").tracks[1]) == given
    assert failure(capsys, f"music {server} --style marsh", 1).startswith(
        "muserve: error: style: is 'marsh'; did you mean 'march'? (request "
    )


def failure(capsys: pytest.CaptureFixture[str], text: str, code: int) -> str:
    capsys.readouterr()
    assert run(text) == code
    captured = capsys.readouterr()
    assert captured.out == ""
    assert "Traceback" not in captured.err
    return captured.err


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("music --out x.wav", 2, "--out is 'x.wav'; it must be a folder, or end with .mid or .midi"),
        ("music --out x.png", 2, "--out is 'x.png'"),
        ("music --out 'out/{sample}'", 2, "--out is 'out/{sample}'"),
        ("music --piano-roll x.mid", 2, "--piano-roll is 'x.mid'; it must be a folder, or end with .png"),
        ("music --out '{stile}.mid'", 2, "--out: '{stile}.mid' has the field 'stile'; allowed: index"),
        ("music --out '{style.mid'", 2, "--out: "),
        ("music --count 2 --style rock --out '{style}.mid'", 2, "--out: '{style}.mid' gives 2 files the same path"),
        ("music --count 2 --style rock --piano-roll '{style}.png'", 2, "--piano-roll: '{style}.png' gives 2 files"),
        ("music --tempo fast", 2, "invalid float value: 'fast'"),
        ("music --stile rock", 2, "unknown argument '--stile'; did you mean '--style'?"),
        ("music --seed -1", 1, "seed: is -1"),
        ("accompany", 2, "FILE"),
        ("accompany nothing.mid", 1, "nothing.mid: No such file or directory"),
        ("accompany melody.mid --role bass", 2, "--role is 'bass'; it must be TRACK=ROLE, as in 1=bass"),
        ("accompany melody.mid --role x=bass", 2, "--role is 'x=bass'"),
        ("accompany melody.mid --out x.txt", 2, "--out is 'x.txt'"),
    ],
)
def test_wrong_use(
    tmp_path: Path, melody: Path, capsys: pytest.CaptureFixture[str], text: str, code: int, words: str
) -> None:
    assert words in failure(capsys, text, code)
    assert names(tmp_path) == ["melody.mid"]


@pytest.mark.parametrize("command", ["music --style polka", "accompany melody.mid --style polka"])
def test_refusals_of_the_server(melody: Path, capsys: pytest.CaptureFixture[str], command: str) -> None:
    refusal = InvalidRequestError(violations=[FieldViolation("style", "is 'polka'; valid: rock")], request_id="x")
    with fake_server(lambda _, context, __: fail(context, refusal)) as fake:
        text = failure(capsys, f"{command} --server {fake.target}", 1)
    assert text == "muserve: error: style: is 'polka'; valid: rock (request x)\n"


@pytest.mark.parametrize("text", ["music --help", "accompany --help"])
def test_help(capsys: pytest.CaptureFixture[str], text: str) -> None:
    assert run(text) == 0
    assert "usage: muserve" in capsys.readouterr().out
