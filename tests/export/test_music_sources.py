"""The sources of music: WADs, ticks that lie, styles, Debian packages, and the folder that they make."""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Callable, Sequence
from pathlib import Path

import mido
import numpy as np
import pytest

from muserve_export.debian import unpack_package
from muserve_export.errors import DataError
from muserve_export.families.music.sources import collect_music
from muserve_export.families.music.sources.freedoom import extract_songs, style_of
from muserve_export.families.music.sources.programs import notes_by_program
from muserve_export.families.music.sources.ticks import on_grid_share, onsets, period_strength, repair
from muserve_export.families.music.sources.wad import midi_lumps

from .conftest import Command
from .packages import deb

BARS = 12
DISTORTION, PIANO, BASS = 30, 0, 33


def song(
    *,
    guitar: int = PIANO,
    beats_a_bar: int = 4,
    metre: tuple[int, int] | None = None,
    ticks_per_beat: int = 480,
    stretch: float = 1.0,
) -> mido.MidiFile:
    """A song of drums, bass and a guitar; each bar has a pattern of its own place and a random one.

    Args:
        guitar: Program of what plays a third of the notes.
        beats_a_bar: After how many beats the pattern comes again.
        metre: What the file says of that, if it does.
        ticks_per_beat: What the file says of it.
        stretch: What the times are multiplied by, after which nothing in the file tells the beat.
    """
    random = np.random.default_rng(3)
    pattern = np.flatnonzero(random.random(beats_a_bar * 4) < 0.6).tolist() or [0]
    file = mido.MidiFile(ticks_per_beat=ticks_per_beat)
    head = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=mido.bpm2tempo(95))])
    if metre:
        head.append(mido.MetaMessage("time_signature", numerator=metre[0], denominator=metre[1]))
    file.tracks.append(head)
    for channel, program in ((9, None), (0, BASS), (1, guitar)):
        track = mido.MidiTrack()
        if program is not None:
            track.append(mido.Message("program_change", channel=channel, program=program))
        now = 0
        for bar in range(BARS * 4 // beats_a_bar):
            for step in pattern:
                time = round((bar * beats_a_bar * 4 + step) * ticks_per_beat / 4 * stretch)
                track.append(mido.Message("note_on", channel=channel, note=40, velocity=90, time=time - now))
                track.append(mido.Message("note_off", channel=channel, note=40, time=1))
                now = time + 1
        file.tracks.append(track)
    return file


def as_bytes(file: mido.MidiFile) -> bytes:
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def wad(lumps: Sequence[tuple[str, bytes]]) -> bytes:
    body, directory, position = b"", b"", 12
    for name, content in lumps:
        directory += struct.pack("<ii8s", position, len(content), name.encode())
        body, position = body + content, position + len(content)
    return struct.pack("<4sii", b"IWAD", len(lumps), position) + body + directory


@pytest.fixture
def game(tmp_path: Path) -> Path:
    """A WAD with songs of both styles, one twice, one in three quarters, and lumps that are no songs."""
    calm, loud = song(), song(guitar=DISTORTION)
    path = tmp_path / "game.wad"
    path.write_bytes(
        wad(
            [
                ("PLAYPAL", bytes(768)),
                ("D_CALM", as_bytes(calm)),
                ("D_LOUD", as_bytes(loud)),
                ("D_AGAIN", as_bytes(calm)),
                ("D_WALTZ", as_bytes(song(beats_a_bar=3, metre=(3, 4)))),
                ("D_E1M1", b"MUS\x1a" + bytes(20)),
                ("MARKER", b""),
            ]
        )
    )
    return path


def test_a_wad_gives_its_midi_lumps_by_what_they_are(game: Path) -> None:
    assert list(midi_lumps(game)) == ["d_calm", "d_loud", "d_again", "d_waltz"]


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda content: content[:8], "8 bytes are no WAD"),
        (lambda content: b"ZWAD" + content[4:], "begins with b'ZWAD'"),
        (lambda content: content[:-5], "directory of 7 lumps .* fetch it again"),
        (lambda content: content[:4] + struct.pack("<i", -1) + content[8:], "directory of -1 lumps"),
        (
            lambda content: content[:-16] + struct.pack("<i", 10**9) + content[-12:],
            "lump marker .* outside of the file",
        ),
    ],
    ids=["short", "other", "cut", "negative", "far"],
)
def test_a_damaged_wad_is_refused(game: Path, spoil: Callable[[bytes], bytes], message: str) -> None:
    game.write_bytes(spoil(game.read_bytes()))
    with pytest.raises(DataError, match=message):
        midi_lumps(game)


def test_songs_are_sorted_by_their_guitars_and_written_once(game: Path, tmp_path: Path) -> None:
    written = extract_songs([game, game], tmp_path / "out")
    assert [path.relative_to(tmp_path / "out").as_posix() for path in written] == [
        "ambient/freedoom-calm.mid",
        "rock/freedoom-loud.mid",
    ]
    assert notes_by_program(mido.MidiFile(written[1]))[DISTORTION] > 0


def test_songs_of_one_name_in_two_wads_are_both_kept(game: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.wad"
    other.write_bytes(wad([("D_CALM", as_bytes(song(ticks_per_beat=240)))]))
    names = [path.name for path in extract_songs([game, other], tmp_path / "out")]
    assert names == ["freedoom-calm.mid", "freedoom-loud.mid", "freedoom-calm-other.mid"]


def test_the_style_rule_counts_distorted_guitars_among_all_notes() -> None:
    assert style_of(song(guitar=31)) == "rock"
    assert style_of(song(guitar=28)) == "ambient"
    # On the drum channel a program is a kit, and no guitar.
    file = song()
    file.tracks[1].insert(0, mido.Message("program_change", channel=9, program=DISTORTION))
    assert style_of(file) == "ambient"
    assert style_of(mido.MidiFile()) == "ambient"


@pytest.mark.parametrize(
    "useless",
    [lambda: song(metre=(6, 8)), lambda: song(beats_a_bar=3), lambda: _played_freely()],
    ids=["never in 4/4", "says 4/4 and repeats after three beats", "off the grid"],
)
def test_songs_that_do_not_fit_the_grid_are_left_out(tmp_path: Path, useless: Callable[[], mido.MidiFile]) -> None:
    path = tmp_path / "a.wad"
    path.write_bytes(wad([("D_BAD", as_bytes(useless()))]))
    with pytest.raises(DataError, match="no song in 4/4 among 1 MIDI lumps"):
        extract_songs([path], tmp_path / "out")


def test_a_song_that_is_no_midi_is_named(tmp_path: Path) -> None:
    path = tmp_path / "a.wad"
    path.write_bytes(wad([("D_CUT", as_bytes(song())[:200])]))
    with pytest.raises(DataError, match=r"a\.wad, lump d_cut: cannot be read as MIDI"):
        extract_songs([path], tmp_path / "out")


@pytest.mark.parametrize("tempo_bpm", [62.5, 90.6, 140.9, 181.0])
def test_ticks_that_lie_are_mended(tempo_bpm: float) -> None:
    honest = song()
    liar = song(ticks_per_beat=89, stretch=95 / tempo_bpm)
    for track in liar.tracks[1:]:
        # Silence of no whole number of steps before the first note.
        track[0].time += 37
    assert on_grid_share(liar) < 0.6
    mended = repair(liar)
    assert mended is not None
    assert on_grid_share(mended) > 0.97
    said = [message.tempo for track in mended.tracks for message in track if message.type == "set_tempo"]
    assert len(said) == 1
    assert mido.tempo2bpm(said[0]) == pytest.approx(tempo_bpm, rel=2e-3)
    assert mended.length == pytest.approx(liar.length, rel=0.02)
    steps = np.round(onsets(mended) / 120)
    np.testing.assert_array_equal(steps - steps[0], np.round(onsets(honest) / 120) - np.round(onsets(honest) / 120)[0])


def test_what_keeps_no_beat_is_not_mended() -> None:
    assert repair(_played_freely()) is None
    assert repair(mido.MidiFile()) is None
    assert on_grid_share(mido.MidiFile()) == 0


def test_the_period_shows_the_metre() -> None:
    assert period_strength(song(beats_a_bar=3), 24) > 0.9 > period_strength(song(beats_a_bar=3), 32)
    assert period_strength(song(), 32) > 0.9 > period_strength(song(), 24)
    assert period_strength(mido.MidiFile(), 16) == 0


def test_a_package_is_unpacked_without_dpkg(tmp_path: Path) -> None:
    package = tmp_path / "a.deb"
    package.write_bytes(deb({"usr/share/a.txt": b"hello"}))
    unpack_package(package, tmp_path / "out")
    assert (tmp_path / "out/usr/share/a.txt").read_bytes() == b"hello"


def test_a_damaged_package_is_refused(tmp_path: Path) -> None:
    content = deb({"usr/a": bytes(1000)})
    package = tmp_path / "a.deb"
    for spoilt, message in (
        (b"PK" + content, "is no Debian package"),
        (content[:-20], "is cut off or damaged"),
        (content[:100], "is cut off or damaged"),
        (content.replace(b"\xfd7zXZ", b"abcdef"), "data.tar.xz cannot be unpacked"),
    ):
        package.write_bytes(spoilt)
        with pytest.raises(DataError, match=message):
            unpack_package(package, tmp_path / "out")


def test_a_package_cannot_write_outside_of_its_folder(tmp_path: Path) -> None:
    package = tmp_path / "a.deb"
    package.write_bytes(deb({"../../evil": b"x"}))
    (tmp_path / "deep/out").mkdir(parents=True)
    with pytest.raises(DataError, match="cannot be unpacked"):
        unpack_package(package, tmp_path / "deep/out")
    assert not list(tmp_path.rglob("evil"))


def test_without_apt_the_message_says_what_to_fetch(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(DataError, match=r"freedoom: this system has no apt-get .* --source PATH/TO/freedoom\.deb"):
        collect_music(tmp_path / "out")
    apt = tmp_path / "apt-get"
    apt.write_text("#!/bin/sh\necho 'E: Unable to locate package' >&2\nexit 100\n")
    apt.chmod(0o755)
    with pytest.raises(DataError, match=r"it says: E: Unable to locate package\. Refresh its lists"):
        collect_music(tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_what_apt_fetches_is_taken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, game: Path) -> None:
    (tmp_path / "store").mkdir()
    (tmp_path / "store/x.deb").write_bytes(deb({"usr/share/games/doom/freedoom1.wad": game.read_bytes()}))
    apt = tmp_path / "apt-get"
    apt.write_text(f'#!/bin/sh\n/bin/cp {tmp_path}/store/x.deb "./$3_1.0_all.deb"\n')
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert [style.style for style in collect_music(tmp_path / "out").styles] == ["ambient", "rock"]


def test_all_kinds_of_sources_give_one_tree(game: Path, tmp_path: Path) -> None:
    package = tmp_path / "packages" / "freedoom.deb"
    package.parent.mkdir()
    package.write_bytes(deb({"usr/share/games/doom/freedoom1.wad": game.read_bytes()}))
    trees = []
    for number, source in enumerate([game, package, package.parent]):
        out = tmp_path / f"out{number}"
        collected = collect_music(out, [source])
        trees.append({path.relative_to(out): path.read_bytes() for path in out.rglob("*.*")})
        assert [(one.style, one.pieces, one.bars) for one in collected.styles] == [("ambient", 1, 12), ("rock", 1, 12)]
        assert collected.styles[1].instruments == 3
    assert trees[0] == trees[1] == trees[2]
    (source,) = json.loads((out / "sources.json").read_text())
    assert (source["name"], source["kind"], source["styles"]) == ("freedoom", "real", ["ambient", "rock"])
    assert "Freedoom" in source["origin"]
    assert "BSD" in source["licence"]


def test_a_second_call_replaces_its_own_styles_and_keeps_the_users(game: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    collect_music(out, [game])
    (out / "mine").mkdir()
    (out / "mine/tune.mid").write_bytes(b"x")
    (out / "rock/stale.mid").write_bytes(b"x")
    collect_music(out, [game])
    assert sorted(path.relative_to(out).as_posix() for path in out.rglob("*.mid")) == [
        "ambient/freedoom-calm.mid",
        "mine/tune.mid",
        "rock/freedoom-loud.mid",
    ]


def test_a_folder_in_the_way_is_left_alone(game: Path, tmp_path: Path) -> None:
    mine = tmp_path / "out/rock/mine.mid"
    mine.parent.mkdir(parents=True)
    mine.write_bytes(b"x")
    with pytest.raises(DataError, match="rock: exists and was not written by this command"):
        collect_music(tmp_path / "out", [game])
    assert [path for path in (tmp_path / "out").rglob("*") if path.is_file()] == [mine]
    (tmp_path / "out/sources.json").write_text('{"a": 1}')
    with pytest.raises(DataError, match=r"sources\.json: was not written by this command"):
        collect_music(tmp_path / "out", [game])


def test_sources_of_other_kinds_are_refused(tmp_path: Path) -> None:
    (tmp_path / "song.mp3").write_bytes(b"x")
    for source, message in (
        ("song.mp3", "is no WAD"),
        ("none.wad", r"none\.wad: does not exist"),
        ("none", "none: does not exist"),
        (".", "holds neither a WAD nor MMA"),
    ):
        with pytest.raises(DataError, match=message):
            collect_music(tmp_path / "out", [tmp_path / source])


def test_the_command_makes_the_data_and_says_what_they_are(game: Path, tmp_path: Path, export_command: Command) -> None:
    done = export_command("data", "music", "--source", game, "--out", tmp_path / "out")
    lines = done.stdout.splitlines()
    assert lines[0].split() == ["style", "pieces", "bars", "tracks", "kind"]
    assert [line.split() for line in lines[1:3]] == [
        ["ambient", "1", "12", "3.0", "real"],
        ["rock", "1", "12", "3.0", "real"],
    ]
    assert lines[-1].endswith(f"muserve-export train music --recipe bundled --data {tmp_path / 'out'}")
    assert (tmp_path / "out/rock/freedoom-loud.mid").is_file()
    refused = export_command("data", "music", "--source", tmp_path / "none", "--out", tmp_path / "out", check=False)
    assert refused.returncode == 1
    assert "none: does not exist; pass a WAD" in refused.stderr


def _played_freely() -> mido.MidiFile:
    """Notes at random times."""
    random = np.random.default_rng(0)
    track = mido.MidiTrack()
    for gap in random.exponential(97, 400).astype(int).tolist():
        track.append(mido.Message("note_on", channel=0, note=60, velocity=90, time=gap))
        track.append(mido.Message("note_off", channel=0, note=60, time=1))
    return mido.MidiFile(tracks=[track])
