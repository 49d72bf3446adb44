"""The chunks and events of a MIDI file, found in untrusted bytes: the one place that walks over them.

Ours, because mido, which otherwise reads MIDI here, cannot bound its work: a length of a million bytes is a number of
seven million bits to it, and events can only be counted once all are objects in memory. It also loses the time before
meta events that it does not know, and does not say where an event's bytes are, so that a caller's tracks could not be
kept as they came. A test holds it against mido on mutated files.

Standard MIDI Files 1.0, RP-001, MIDI Manufacturers Association 1996.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from muserve_server.tasks.music.song import MidiError

__all__ = [
    "END_OF_TRACK",
    "META",
    "NOTE_OFF",
    "NOTE_ON",
    "PROGRAM",
    "SET_TEMPO",
    "TIME_SIGNATURE",
    "TRACK_NAME",
    "MidiFile",
    "Track",
    "split_chunks",
]

NOTE_OFF, NOTE_ON, PROGRAM = 0x80, 0x90, 0xC0
"""The upper half of the status byte; the lower is the channel."""
META = 0xFF
TRACK_NAME, END_OF_TRACK, SET_TEMPO, TIME_SIGNATURE = 0x03, 0x2F, 0x51, 0x58

_SYSEX, _ESCAPE = 0xF0, 0xF7
_DATA_BYTES = (2, 2, 2, 2, 1, 1, 2)
"""By the upper half of the status, from 0x80: note off and on, key pressure, control, program, pressure, bend."""
_MAX_LENGTH_BYTES = 4
_CHUNK_HEADER = struct.Struct(">4sI")
_FILE_HEADER = struct.Struct(">HHH")


@dataclass(frozen=True)
class Track:
    """The bytes of one track, without the chunk's header."""

    number: int
    """Index in the file."""
    data: bytes

    def events(self) -> Iterator[tuple[int, int, int, int, int]]:
        """Walks over the events, up to the end of the track. Plain tuples, for there are a hundred thousand of them.

        Yields:
            Tick, status byte, also where running status left it out, and three offsets: of the event's first byte after
            its time, of its first data byte (of a meta event: its type), and after its last byte.

        Raises:
            MidiError: The bytes are not MIDI events.
        """
        data, size = self.data, len(self.data)
        at = tick = status = 0
        try:
            while at < size:
                byte = data[at]
                at += 1
                if byte < 0x80:
                    tick += byte
                else:
                    delta, at = self._length(at - 1)
                    tick += delta
                begin, byte = at, data[at]
                if byte < 0x80:
                    if not status:
                        raise MidiError(f"track {self.number} has data without a status byte at its byte {at}")
                elif byte < _SYSEX:
                    status = byte
                    at += 1
                else:
                    if byte != META:
                        status = 0  # it ends running status; a meta event should too, but some programs write otherwise
                    at = self._skip(at)
                    kind = data[begin + 1]
                    yield tick, byte, begin, begin + 1, at
                    if byte == META and kind == END_OF_TRACK:
                        return
                    continue
                end = at + _DATA_BYTES[(status >> 4) - 8]
                if data[at] > 0x7F or data[end - 1] > 0x7F:
                    raise MidiError(f"track {self.number} has a status byte instead of data at its byte {at}")
                yield tick, status, begin, at, end
                at = end
        except IndexError:
            raise MidiError(f"track {self.number} ends in the middle of an event: the file is damaged") from None

    def payload(self, at: int) -> bytes:
        """Returns the content of the meta event whose type is at this offset."""
        length, begin = self._length(at + 1)
        return self.data[begin : begin + length]

    def _skip(self, at: int) -> int:
        """Returns the offset after the system or meta event that begins at this one."""
        status = self.data[at]
        if status not in (META, _SYSEX, _ESCAPE):
            raise MidiError(f"track {self.number} has the byte 0x{status:02x} at {at}, which is not allowed in a file")
        length, begin = self._length(at + 2 if status == META else at + 1)
        if begin + length > len(self.data):
            raise MidiError(f"track {self.number} ends in the middle of an event: the file is damaged")
        return begin + length

    def _length(self, at: int) -> tuple[int, int]:
        """Returns the number of variable length at an offset, and the offset after it."""
        number = 0
        for index in range(at, at + _MAX_LENGTH_BYTES):
            byte = self.data[index]
            number = number << 7 | byte & 0x7F
            if byte < 0x80:
                return number, index + 1
        raise MidiError(f"track {self.number} has a number of more than four bytes at its byte {at}")


@dataclass(frozen=True)
class MidiFile:
    """A file's header and tracks."""

    type: int
    """0: one track for all channels; 1: tracks that play together, also where a file of several says 0."""
    ticks_per_beat: int
    """Ticks of a quarter note, 1 up to 32,767."""
    tracks: tuple[Track, ...]


def split_chunks(midi: bytes, *, max_tracks: int) -> MidiFile:
    """Splits a file into its tracks.

    Args:
        midi: The file.
        max_tracks: Maximum tracks.

    Raises:
        MidiError: It is not a MIDI file, truncated, of type 2, in SMPTE time, or has too many tracks.
    """
    if not midi:
        raise MidiError("the file is empty")
    if midi[:4] != b"MThd":
        raise MidiError("is not a MIDI file: a MIDI file begins with MThd")
    if len(midi) < _CHUNK_HEADER.size + _FILE_HEADER.size:
        raise MidiError("is truncated in its header")
    _, size = _CHUNK_HEADER.unpack_from(midi)
    kind, count, division = _FILE_HEADER.unpack_from(midi, _CHUNK_HEADER.size)
    _check_header(size, kind, count, division, max_tracks)
    tracks: list[Track] = []
    at = _CHUNK_HEADER.size + size
    while len(tracks) < count:
        if at + _CHUNK_HEADER.size > len(midi):
            raise MidiError(f"is truncated: its header names {count} tracks, it has {len(tracks)}")
        name, size = _CHUNK_HEADER.unpack_from(midi, at)
        at += _CHUNK_HEADER.size
        if at + size > len(midi):
            raise MidiError(
                f"is truncated in track {len(tracks)}: its header names {size} bytes, it has {len(midi) - at}"
            )
        if name == b"MTrk":  # other chunks are to be ignored
            tracks.append(Track(len(tracks), midi[at : at + size]))
        at += size
    return MidiFile(1 if count > 1 else kind, division, tuple(tracks))


def _check_header(size: int, kind: int, count: int, division: int, max_tracks: int) -> None:
    if size < _FILE_HEADER.size:
        raise MidiError(f"has a header of {size} bytes; it must have 6")
    if kind == 2:
        raise MidiError("is of type 2, whose tracks do not play together; save it as type 1")
    if kind > 1:
        raise MidiError(f"is of type {kind}; allowed: 0 and 1")
    if division & 0x8000:
        raise MidiError("counts time in SMPTE frames, so it has no bars; save it with ticks per quarter note")
    if not division:
        raise MidiError("has 0 ticks per quarter note; allowed: 1 up to 32,767")
    if not 1 <= count <= max_tracks:
        raise MidiError(f"has {count} tracks; allowed: 1 up to {max_tracks}")
