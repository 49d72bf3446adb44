"""What the tests of music share: MIDI files made by mido, real ones, and settings of a small grid."""

from __future__ import annotations

import importlib.util
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mido
import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_server.tasks.music.song import Song, SongTrack

__all__ = ["STANDARD", "meta", "midi_file", "note_track", "notes_of", "real_files", "song_of", "standard_settings"]

Note = tuple[int, int, int]
"""Start tick, end tick, pitch."""


def meta(kind: str, tick: int = 0, **fields: Any) -> tuple[int, mido.MetaMessage]:
    return tick, mido.MetaMessage(kind, **fields)


def note_track(
    *notes: Note, channel: int = 0, program: int | None = None, name: str = "", velocity: int = 90
) -> list[tuple[int, Any]]:
    """Events of a track at their ticks."""
    events: list[tuple[int, Any]] = []
    if name:
        events.append(meta("track_name", name=name))
    if program is not None:
        events.append((0, mido.Message("program_change", channel=channel, program=program)))
    for start, end, pitch in notes:
        events.append((start, mido.Message("note_on", channel=channel, note=pitch, velocity=velocity)))
        events.append((end, mido.Message("note_off", channel=channel, note=pitch)))
    return events


def midi_file(*tracks: Sequence[tuple[int, Any]], kind: int = 1, ticks_per_beat: int = 480) -> bytes:
    """Writes a file with mido; of events at one tick, ends come first, as most programs have it."""
    file = mido.MidiFile(type=kind, ticks_per_beat=ticks_per_beat)
    for events in tracks:
        track, last = file.add_track(), 0
        for tick, message in sorted(events, key=lambda event: (event[0], event[1].type != "note_off")):
            track.append(message.copy(time=tick - last))
            last = tick
    buffer = io.BytesIO()
    file.save(file=buffer)
    return buffer.getvalue()


def notes_of(song: Song) -> list[list[list[int]]]:
    """Start, end and pitch of each track's notes."""
    return [track.notes[:, :3].tolist() for track in song.tracks]


def song_of(
    *tracks: Sequence[Note], channels: Sequence[int] | None = None, signatures: Sequence[Sequence[int]] = ((0, 4, 4),)
) -> Song:
    """A song of notes at 480 ticks a quarter, one channel after the other."""
    made = []
    for index, notes in enumerate(tracks):
        array = np.array([(*note, 90) for note in notes], dtype=np.int64).reshape(-1, 4)
        channel = channels[index] if channels else index
        made.append(SongTrack(index, channel, f"Track {index}", 0, array))
    end_tick = max((int(track.notes[:, 1].max()) for track in made if len(track.notes)), default=0)
    tempos: NDArray[np.int64] = np.array([[0, 500_000]])
    return Song(480, tuple(made), tempos, np.array(signatures, dtype=np.int64), end_tick)


def standard_settings(**fields: Any) -> manifest_pb2.MusicSettings:
    """The standard grid: 4 bars of 16 steps, 84 pitches from 24, five tracks."""
    settings = manifest_pb2.MusicSettings(
        bars=4, beats_per_bar=4, beat_unit=4, steps_per_bar=16, lowest_pitch=24, pitches=84, onset_threshold=0.5,
        hold_threshold=0.5,
    )  # fmt: skip
    for role in ("drums", "keys", "guitar", "bass", "strings"):
        settings.tracks.add(role=role, drums=role == "drums", velocity=90, off_beat_velocity=70)
    for name, value in fields.items():
        setattr(settings, name, value)
    return settings


STANDARD = standard_settings()


def real_files() -> list[Path]:
    """MIDI files by other programs, which music21 brings for its own tests."""
    package = importlib.util.find_spec("music21")
    assert package
    assert package.submodule_search_locations
    (folder,) = package.submodule_search_locations
    files = sorted((Path(folder) / "midi" / "testPrimitive").glob("*.mid"))
    assert files, "else every test of real files would be skipped"
    return files
