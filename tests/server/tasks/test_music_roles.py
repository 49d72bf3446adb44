"""Which role a track of a file is taken to play."""

from __future__ import annotations

from dataclasses import replace

import pytest

from muserve_server.tasks.music.roles import guess_roles
from muserve_server.tasks.music.song import Song
from tests.server.musical import Note, song_of

ROLES = ("drums", "keys", "guitar", "bass", "strings")


def with_programs(song: Song, *programs: int) -> Song:
    tracks = (replace(track, program=program) for track, program in zip(song.tracks, programs, strict=True))
    return replace(song, tracks=tuple(tracks))


def named(song: Song, roles: tuple[str, ...] = ROLES) -> list[str | None]:
    return [None if index is None else roles[index] for index in guess_roles(song, roles)]


@pytest.mark.parametrize(
    ("program", "role"),
    [
        (1, "keys"), (23, "keys"), (24, "guitar"), (31, "guitar"), (32, "bass"), (39, "bass"), (40, "strings"),
        (73, "strings"), (95, "strings"), (96, None), (127, None),
    ],
)  # fmt: skip
def test_the_program_says_it(program: int, role: str | None) -> None:
    assert named(with_programs(song_of([(0, 9, 40)], [(0, 9, 90)]), program, 9)) == [role, "keys"]


def test_channel_10_is_drums_whatever_its_program() -> None:
    song = with_programs(song_of([(0, 9, 40)], [(0, 9, 90)], channels=[9, 0]), 33, 40)
    assert named(song) == ["drums", "strings"]


def melody(pitch: int, *, chords: bool = False) -> list[Note]:
    notes = [(tick, tick + 240, pitch + tick // 480 % 5) for tick in range(0, 7680, 480)]
    return notes + [(start, end, pitch + 7) for start, end, pitch in notes] if chords else notes


def test_without_programs_the_low_single_line_is_the_bass() -> None:
    assert named(song_of(melody(72), melody(36), melody(38, chords=True))) == ["keys", "bass", "keys"]
    assert named(song_of(melody(36))) == ["keys"]  # a file of one track is its melody
    assert named(song_of(melody(36), melody(36), channels=[0, 9])) == ["keys", "drums"]
    assert named(with_programs(song_of(melody(72), melody(36)), 40, 0)) == ["strings", "keys"]  # 0 is a piano then


def test_roles_that_the_model_has_not_are_not_guessed() -> None:
    song = with_programs(song_of([(0, 9, 40)], [(0, 9, 40)], [(0, 9, 40)], channels=[9, 0, 1]), 0, 30, 33)
    assert named(song, ("bass", "melody")) == [None, None, "bass"]
