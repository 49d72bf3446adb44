"""Songs become MIDI files of type 1, and new tracks are put beside the tracks of a file that exists.

Ours, because symusic puts tempo and name of the first instrument into one track, knows no text events, chooses the
channels itself and cannot add to a file; and mido makes an object of each event, which takes many times as long
(`python -m bench.music`). Here each event of all tracks is a row of one array, which is sorted once and cut down to its
bytes at once.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from muserve_server.tasks.music import events
from muserve_server.tasks.music.events import MidiFile, Track
from muserve_server.tasks.music.song import DRUM_CHANNEL, MidiError, Song, SongTrack

__all__ = ["MAX_TICK", "KeptFile", "free_channels", "keep", "write_song"]

MAX_TICK = 2**28 - 1
"""Most ticks between two events."""

_CHANNELS = 16
_RELEASE_VELOCITY = 64  # what the standard has keyboards send that do not measure it
_TEXT = 0x01
_CLOCKS_PER_CLICK, _32NDS_PER_BEAT = 24, 8
_END_OF_TRACK = bytes((events.META, events.END_OF_TRACK, 0))


class KeptFile:
    """A caller's file, to whose tracks others are added: its own events stay as they came."""

    def __init__(self, ticks_per_beat: int, first: bytes, others: Sequence[bytes]) -> None:
        self._ticks_per_beat = ticks_per_beat
        self._first = first
        self._others = [_chunk(data) for data in others]

    def add(self, tracks: Sequence[SongTrack], text: str, end_tick: int) -> bytes:
        """Returns the file with more tracks at its end.

        Args:
            tracks: The new tracks, in ticks of the file.
            text: For a text event at the beginning of the first track.
            end_tick: Where the new tracks end.

        Raises:
            MidiError: It is longer than `MAX_TICK`.
        """
        first = _chunk(b"\x00" + _meta(_TEXT, text.encode()) + self._first)
        chunks = [first, *self._others, *_track_chunks(tracks, end_tick)]
        return _header(self._ticks_per_beat, len(chunks)) + b"".join(chunks)


def write_song(song: Song, *, text: str = "") -> bytes:
    """Writes a song: a track for tempo and metre, then its tracks, each with name and program.

    Args:
        song: The song. Tracks without notes are written too; those without a name get none.
        text: For a text event at the beginning of the first track; empty for none.

    Raises:
        MidiError: It is longer than `MAX_TICK`.
    """
    chunks = [_conductor(song, text), *_track_chunks(song.tracks, song.end_tick)]
    return _header(song.ticks_per_beat, len(chunks)) + b"".join(chunks)


def keep(file: MidiFile, song: Song) -> KeptFile:
    """Makes a caller's file ready to have tracks added.

    A file of type 1 keeps its tracks byte for byte, up to their end. One of type 0 is split: a track a channel that has
    notes, in the order of the song's tracks and under their names, after one track with all else.

    Args:
        file: The file.
        song: What was read from it.
    """
    if file.type:
        kept = [_whole(track) for track in file.tracks]
        return KeptFile(file.ticks_per_beat, kept[0], kept[1:])
    first, *others = _split(file.tracks[0], [track.channel for track in song.tracks])
    named = [
        b"\x00" + _meta(events.TRACK_NAME, track.name.encode()) + data
        for track, data in zip(song.tracks, others, strict=True)
    ]
    return KeptFile(file.ticks_per_beat, first, named)


def free_channels(file: MidiFile) -> list[int]:
    """Returns the channels that no event of a file uses, without that of drums."""
    used = {status & 0x0F for track in file.tracks for _, status, *_ in track.events() if status < 0xF0}
    return [channel for channel in range(_CHANNELS) if channel not in used and channel != DRUM_CHANNEL]


def _whole(track: Track) -> bytes:
    """Returns a track's bytes up to its end of track, which is put there where it is missing."""
    size, is_ended = 0, False
    for _, status, _, at, end in track.events():
        size, is_ended = end, status == events.META and track.data[at] == events.END_OF_TRACK
    return track.data[:size] + (b"" if is_ended else b"\x00" + _END_OF_TRACK)


def _split(track: Track, channels: Sequence[int]) -> list[bytes]:
    """Splits a track into one of all that has no channel among these, and one a channel, all of one length."""
    parts = [bytearray() for _ in range(len(channels) + 1)]
    place = {channel: index for index, channel in enumerate(channels, 1)}
    last = [0] * len(parts)
    tick = 0
    for tick, status, begin, at, end in track.events():
        if status == events.META and track.data[at] == events.END_OF_TRACK:
            break
        index = place.get(status & 0x0F, 0) if status < 0xF0 else 0
        part = parts[index]
        part += _length(tick - last[index])
        if status < 0xF0:
            part.append(status)  # running status may have left it out
            part += track.data[at:end]
        else:
            part += track.data[begin:end]
        last[index] = tick
    return [bytes(part) + _length(tick - at) + _END_OF_TRACK for part, at in zip(parts, last, strict=True)]


def _conductor(song: Song, text: str) -> bytes:
    found = [(0, 0, _meta(_TEXT, text.encode()))] if text else []
    found += [(tick, 1, _meta(events.SET_TEMPO, tempo.to_bytes(3, "big"))) for tick, tempo in song.tempos.tolist()]
    for tick, beats, unit in song.time_signatures.tolist():
        payload = bytes((beats, unit.bit_length() - 1, _CLOCKS_PER_CLICK * 4 // unit or 1, _32NDS_PER_BEAT))
        found.append((tick, 2, _meta(events.TIME_SIGNATURE, payload)))
    data, last = b"", 0
    for tick, _, event in sorted(found):
        data += _length(tick - last) + event
        last = tick
    return _chunk(data + _length(song.end_tick - last) + _END_OF_TRACK)


def _track_chunks(tracks: Sequence[SongTrack], end_tick: int) -> list[bytes]:
    """Encodes tracks, all of them at once."""
    if not tracks:
        return []
    counts = [len(track.notes) for track in tracks]
    notes = np.concatenate([track.notes for track in tracks])
    start, end, pitch, velocity = notes.T
    owner = np.tile(np.repeat(np.arange(len(tracks)), counts), 2)
    tick = np.concatenate([start, end])
    # A note ends before another begins, unless it ends where it began itself.
    order = np.concatenate([np.ones(len(notes), np.int64), np.where(end == start, 2, 0)])
    channel = np.repeat([track.channel for track in tracks], counts)
    data = np.concatenate([
        np.column_stack([channel + events.NOTE_ON, pitch, velocity]),
        np.column_stack([channel + events.NOTE_OFF, pitch, np.full(len(notes), _RELEASE_VELOCITY)]),
    ])  # fmt: skip
    by_time = np.lexsort((data[:, 1], order, tick, owner))
    owner, tick, data = owner[by_time], tick[by_time], data[by_time]
    delta = np.diff(tick, prepend=0)
    is_first = np.diff(owner, prepend=-1) != 0
    delta[is_first] = tick[is_first]
    if max(delta.max(initial=0), end_tick) > MAX_TICK:
        raise MidiError(f"lasts {end_tick} ticks; a file can count to {MAX_TICK} between two events")
    body, sizes = _encode(delta, data)
    edges = np.concatenate([[0], np.cumsum(sizes)])[np.searchsorted(owner, np.arange(len(tracks) + 1))]
    chunks = []
    for index, track in enumerate(tracks):
        begin, stop = edges[index : index + 2]
        last = int(track.notes[:, :2].max(initial=0))
        tail = _length(max(0, end_tick - last)) + _END_OF_TRACK
        chunks.append(_chunk(_head(track) + body[begin:stop] + tail))
    return chunks


def _encode(delta: NDArray[np.int64], data: NDArray[np.int64]) -> tuple[bytes, NDArray[np.int64]]:
    """Encodes events of three bytes after their times: the bytes of all, and the number of each.

    Args:
        delta: [event], ticks since the one before.
        data: [event, 3].
    """
    lengths = np.stack([delta >> 21, delta >> 14, delta >> 7, delta], axis=1)
    rows = np.concatenate([lengths & 0x7F | (0x80, 0x80, 0x80, 0), data], axis=1).astype(np.uint8)
    there = np.ones(rows.shape, dtype=bool)
    there[:, :3] = lengths[:, :3] > 0
    return rows[there].tobytes(), np.count_nonzero(there, axis=1)


def _head(track: SongTrack) -> bytes:
    name = b"\x00" + _meta(events.TRACK_NAME, track.name.encode()) if track.name else b""
    return name + bytes((0, events.PROGRAM | track.channel, track.program))


def _meta(kind: int, payload: bytes) -> bytes:
    return bytes((events.META, kind)) + _length(len(payload)) + payload


def _length(number: int) -> bytes:
    """Encodes a number as the standard's variable length.

    Raises:
        MidiError: It is more than `MAX_TICK`, which has no room in its four bytes.
    """
    if number > MAX_TICK:
        raise MidiError(f"lasts {number} ticks; a file can count to {MAX_TICK} between two events")
    found = bytearray((number & 0x7F,))
    while number := number >> 7:
        found.insert(0, number & 0x7F | 0x80)
    return bytes(found)


def _header(ticks_per_beat: int, tracks: int) -> bytes:
    return b"MThd" + struct.pack(">IHHH", 6, 1, tracks, ticks_per_beat)


def _chunk(data: bytes) -> bytes:
    return b"MTrk" + struct.pack(">I", len(data)) + data
