"""MIDI bytes that nobody vouches for become a Song, or a MidiError that says what is wrong with them."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from muserve_server.tasks.music import events
from muserve_server.tasks.music.events import MidiFile, Track, split_chunks
from muserve_server.tasks.music.song import MidiError, Song, SongTrack

__all__ = ["MAX_TRACKS", "read_song", "to_song"]

MAX_TRACKS = 256
"""Most tracks of a file. Sixteen channels play at once; notation programs write a track a staff."""

_MAX_UNIT_POWER = 6  # sixty-fourths
_FOUR_FOUR = (0, 4, 4)


@dataclass
class _Part:
    """The notes of one channel while its track is read: four columns, and which notes of a pitch still sound."""

    program: int | None = None
    starts: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    pitches: list[int] = field(default_factory=list)
    velocities: list[int] = field(default_factory=list)
    sounding: dict[int, deque[int]] = field(default_factory=dict)

    def begin(self, tick: int, pitch: int, velocity: int) -> None:
        self.sounding.setdefault(pitch, deque()).append(len(self.starts))
        self.starts.append(tick)
        self.ends.append(-1)
        self.pitches.append(pitch)
        self.velocities.append(velocity)

    def end(self, tick: int, pitch: int) -> None:
        """Ends the note of this pitch that began first; an end without a beginning is nothing."""
        if notes := self.sounding.get(pitch):
            self.ends[notes.popleft()] = tick

    def notes(self, end_tick: int) -> NDArray[np.int64]:
        columns = (self.starts, self.ends, self.pitches, self.velocities)
        notes = np.array(columns, dtype=np.int64).T
        notes[notes[:, 1] < 0, 1] = end_tick
        return np.ascontiguousarray(notes[np.lexsort((notes[:, 2], notes[:, 0]))])


@dataclass
class _Reader:
    """What the tracks of one file have in common while they are read."""

    max_events: int
    events: int = 0
    tempos: list[tuple[int, int]] = field(default_factory=list)
    time_signatures: list[tuple[int, int, int]] = field(default_factory=list)
    programs: dict[int, int] = field(default_factory=dict)
    """The first program of each channel, in whatever track: some files set all instruments in their first."""
    end_tick: int = 0

    def track(self, track: Track) -> tuple[str, dict[int, _Part], int]:
        """Reads a track: its name, its parts by channel, and the tick where it ends."""
        name, parts, tick = "", dict[int, _Part](), 0
        data = track.data
        for tick, status, _, at, _ in track.events():
            self.events += 1
            if self.events > self.max_events:
                raise MidiError(f"has more than {self.max_events:,} events; cut it, or leave out controllers")
            kind = status & 0xF0
            if kind == events.NOTE_ON and data[at + 1]:
                part = parts.get(status & 0x0F)
                if part is None:
                    part = parts[status & 0x0F] = _Part()
                part.begin(tick, data[at], data[at + 1])
            elif kind in (events.NOTE_OFF, events.NOTE_ON):
                if part := parts.get(status & 0x0F):
                    part.end(tick, data[at])
            elif kind == events.PROGRAM:
                part = parts.setdefault(status & 0x0F, _Part())
                part.program = data[at] if part.program is None else part.program
                self.programs.setdefault(status & 0x0F, data[at])
            elif status == events.META:
                found = self._meta(track, data[at], tick, at)
                name = name or found
        self.end_tick = max(self.end_tick, tick)
        return name, parts, tick

    def _meta(self, track: Track, kind: int, tick: int, at: int) -> str:
        """Keeps what a meta event says; returns the track's name if it is one."""
        if kind == events.TRACK_NAME:
            return _decode(track.payload(at))
        if kind == events.SET_TEMPO:
            payload = track.payload(at)
            tempo_us = int.from_bytes(payload, "big")
            if len(payload) != 3 or not tempo_us:
                raise MidiError(
                    f"has a tempo of {payload.hex() or 'no'} microseconds at tick {tick}; it must be above 0"
                )
            self.tempos.append((tick, tempo_us))
        elif kind == events.TIME_SIGNATURE:
            payload = track.payload(at)
            if len(payload) < 2 or not payload[0] or payload[1] > _MAX_UNIT_POWER:
                raise MidiError(
                    f"has a time signature at tick {tick} that is none: the bytes {payload[:4].hex() or 'none'}"
                )
            self.time_signatures.append((tick, payload[0], 1 << payload[1]))
        return ""


def read_song(midi: bytes, *, max_events: int = 100_000, max_tracks: int = MAX_TRACKS) -> Song:
    """Reads a MIDI file.

    A note ends at its note-off or note-on with velocity 0; of several of one pitch the first is ended first. Notes that
    are not ended last until their track's end. Tracks with several channels become a part a channel.

    Args:
        midi: The file, from anyone.
        max_events: Most events that it may have.
        max_tracks: Most tracks that it may have.

    Raises:
        MidiError: It is not a MIDI file of type 0 or 1 with metrical time, damaged, too large, or has no notes.
    """
    return to_song(split_chunks(midi, max_tracks=max_tracks), max_events=max_events)


def to_song(file: MidiFile, *, max_events: int) -> Song:
    """Reads the tracks of a file whose chunks are found; see `read_song`."""
    reader = _Reader(max_events)
    tracks: list[SongTrack] = []
    for track, (name, parts, end_tick) in zip(file.tracks, [reader.track(track) for track in file.tracks], strict=True):
        for channel, part in sorted(parts.items()):
            if part.starts:
                index = track.number if file.type else len(tracks)
                program = reader.programs.get(channel, 0) if part.program is None else part.program
                # The name in a file of type 0 is the whole piece's.
                called = name if file.type else f"Channel {channel + 1}"
                tracks.append(SongTrack(index, channel, called, program, part.notes(end_tick)))
    if not tracks:
        raise MidiError("has no notes")
    return Song(
        ticks_per_beat=file.ticks_per_beat,
        tracks=tuple(tracks),
        tempos=_changes(reader.tempos, 2),
        time_signatures=_changes([_FOUR_FOUR, *reader.time_signatures], 3),
        end_tick=reader.end_tick,
    )


def _changes(found: Iterable[tuple[int, ...]], columns: int) -> NDArray[np.int64]:
    """Returns changes by tick; of several at one tick the last counts."""
    last: dict[int, Sequence[int]] = {row[0]: row for row in found}
    return np.array([last[tick] for tick in sorted(last)], dtype=np.int64).reshape(-1, columns)


def _decode(text: bytes) -> str:
    """Returns a name as people wrote it: UTF-8, or Latin-1 as the standard's ASCII is often stretched."""
    try:
        name = text.decode()
    except UnicodeDecodeError:
        name = text.decode("latin-1")
    return name.strip(" \0")
