"""Reading MIDI: what notes there are, as mido sees them, and what is refused, whatever the bytes are."""

from __future__ import annotations

import io
import struct
from collections import deque
from contextlib import suppress
from pathlib import Path
from typing import Any

import mido
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muserve_server.tasks.music.midi_reader import MAX_TRACKS, read_song
from muserve_server.tasks.music.song import MidiError, Song
from tests.server.musical import meta, midi_file, note_track, notes_of, real_files

FILES = real_files()
SMALL = [path for path in FILES if path.stat().st_size < 2000]
HEADER = b"MThd" + struct.pack(">IHHH", 6, 1, 1, 96)


def track(*data: int) -> bytes:
    return b"MTrk" + struct.pack(">I", len(data)) + bytes(data)


END = (0x00, 0xFF, 0x2F, 0x00)
NOTE = (0x00, 0x90, 60, 100, 0x10, 0x80, 60, 0)


def notes_by_mido(midi: bytes) -> dict[tuple[int, int], list[tuple[int, int, int, int]]]:
    """The notes by track and channel, by the same rule, from mido's messages."""
    found: dict[tuple[int, int], list[tuple[int, int, int, int]]] = {}
    for number, messages in enumerate(mido.MidiFile(file=io.BytesIO(midi)).tracks):
        tick = 0
        open_: dict[tuple[int, int], deque[tuple[int, int]]] = {}
        for message in messages:
            tick += message.time
            if message.type == "unknown_meta":
                raise LookupError("mido loses the time before these")
            if message.type == "end_of_track":
                break
            if message.type not in ("note_on", "note_off"):
                continue
            queue = open_.setdefault((message.channel, message.note), deque())
            if message.type == "note_on" and message.velocity:
                queue.append((tick, message.velocity))
            elif queue:
                start, velocity = queue.popleft()
                found.setdefault((number, message.channel), []).append((start, tick, message.note, velocity))
        for (channel, pitch), queue in open_.items():
            for start, velocity in queue:
                found.setdefault((number, channel), []).append((start, tick, pitch, velocity))
    return {key: sorted(notes) for key, notes in found.items()}


def notes_as_mido(song: Song, midi: bytes) -> dict[tuple[int, int], list[tuple[int, ...]]]:
    has_tracks = midi[9] or midi[11] > 1
    return {
        (part.index if has_tracks else 0, part.channel): sorted(tuple(note) for note in part.notes.tolist())
        for part in song.tracks
    }


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_real_files_have_the_notes_that_mido_sees(path: Path) -> None:
    midi = path.read_bytes()
    song = read_song(midi)
    assert notes_as_mido(song, midi) == notes_by_mido(midi)
    assert sum(len(part.notes) for part in song.tracks) > 2


@given(st.sampled_from(SMALL), st.lists(st.tuples(st.integers(0, 2000), st.integers(0, 255)), min_size=1, max_size=6))
@settings(max_examples=400)
def test_mutated_real_files_are_read_as_mido_does_or_refused(path: Path, changes: list[tuple[int, int]]) -> None:
    midi = bytearray(path.read_bytes())
    for position, value in changes:
        midi[position % len(midi)] = value
    try:
        song = read_song(bytes(midi))
    except MidiError:
        return
    try:
        wanted = notes_by_mido(bytes(midi))
    except (OSError, EOFError, ValueError, LookupError, TypeError, struct.error, mido.KeySignatureError):
        return  # it is stricter with meta events that do not matter here
    assert notes_as_mido(song, bytes(midi)) == wanted


@given(st.binary(max_size=200), st.booleans())
@settings(max_examples=300)
def test_any_bytes_are_read_or_refused(data: bytes, with_header: bool) -> None:
    with suppress(MidiError):
        read_song(HEADER + b"MTrk" + struct.pack(">I", len(data)) + data if with_header else data)


@given(st.sampled_from(SMALL), st.data())
@settings(max_examples=100)
def test_parts_taken_out_and_put_in_are_no_harm(path: Path, data: st.DataObject) -> None:
    midi = path.read_bytes()
    begin = data.draw(st.integers(0, len(midi)))
    end = data.draw(st.integers(begin, len(midi)))
    put = data.draw(st.one_of(st.just(b""), st.binary(max_size=20), st.just(midi[begin:end] * 2)))
    with suppress(MidiError):
        read_song(midi[:begin] + put + midi[end:])


@pytest.mark.parametrize("path", SMALL[:6], ids=lambda path: path.stem)
def test_a_file_cut_off_anywhere_is_refused_or_read_whole(path: Path) -> None:
    midi = path.read_bytes()
    song = read_song(midi)
    for size in range(len(midi)):
        with suppress(MidiError):
            assert notes_of(read_song(midi[:size])) == notes_of(song)  # what followed was no part of a track


@pytest.mark.parametrize(
    ("midi", "text"),
    [
        (b"", "the file is empty"),
        (b"RIFF\x00\x00\x00\x00RMID", "is not a MIDI file: a MIDI file begins with MThd"),
        (b"ID3\x04", "is not a MIDI file"),
        (b"MThd\x00\x00\x00\x06\x00", "is truncated in its header"),
        (b"MThd" + struct.pack(">IHHH", 2, 1, 1, 96), "has a header of 2 bytes; it must have 6"),
        (b"MThd" + struct.pack(">IHHH", 2**32 - 1, 1, 1, 96), "is truncated: its header names 1 tracks, it has 0"),
        (b"MThd" + struct.pack(">IHHH", 6, 2, 1, 96), "is of type 2, whose tracks do not play together"),
        (b"MThd" + struct.pack(">IHHH", 6, 3, 1, 96), "is of type 3; allowed: 0 and 1"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 1, 0xE728), "counts time in SMPTE frames, so it has no bars"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 1, 0), "has 0 ticks per quarter note; allowed: 1 up to 32,767"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 0, 96), "has 0 tracks; allowed: 1 up to 256"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 1000, 96), "has 1000 tracks; allowed: 1 up to 256"),
        (b"MThd" + struct.pack(">IHHH", 6, 1, 65535, 96), "has 65535 tracks"),
        (HEADER, "is truncated: its header names 1 tracks, it has 0"),
        (HEADER + track(*NOTE, *END)[:-3], "is truncated in track 0: its header names 12 bytes, it has 9"),
        (HEADER + track(*END), "has no notes"),
        (HEADER + track(0, 0x80, 60, 0, 0, 0x90, 61, 0, *END), "has no notes"),
        (HEADER + track(), "has no notes"),
        (HEADER + track(0x00, 60, 100), "track 0 has data without a status byte at its byte 1"),
        (HEADER + track(0, 0x90, 60, 90, 0, 0xF0, 0, 0, 60, 0), "has data without a status"),
        (HEADER + track(0, 0x90, 60), "ends in the middle of an event"),
        (HEADER + track(0, 0x90, 60, 0x90), "has a status byte instead of data"),
        (HEADER + track(0, 0x90, 0x90, 60), "has a status byte instead of data"),
        (HEADER + track(0, 0xC0, 0xC0), "has a status byte instead of data"),
        (HEADER + track(0), "ends in the middle of an event"),
        (HEADER + track(0x80), "ends in the middle of an event"),
        (HEADER + track(0, 0xFF), "ends in the middle of an event"),
        (HEADER + track(0, 0xFF, 0x01), "ends in the middle of an event"),
        (HEADER + track(0, 0xFF, 0x01, 5, 65), "ends in the middle of an event"),
        (HEADER + track(0, 0xF0, 5, 65), "ends in the middle of an event"),
        (HEADER + track(0, 0xFF, 0x01, 0x80, 0x80, 0x80, 0x80, 0x01), "has a number of more than four bytes"),
        (HEADER + track(*[0xFF] * 1000), "has a number of more than four bytes"),
        (HEADER + track(0, 0xF1, 0x00), "has the byte 0xf1 at 1, which is not allowed in a file"),
        (HEADER + track(0, 0xF8), "has the byte 0xf8 at 1"),
        (HEADER + track(0, 0xFF, 0x51, 3, 0, 0, 0, *NOTE), "has a tempo of 000000 microseconds at tick 0"),
        (HEADER + track(0, 0xFF, 0x51, 0, *NOTE), "has a tempo of no microseconds at tick 0; it must be above 0"),
        (HEADER + track(0, 0xFF, 0x51, 4, 0, 7, 0, 0, *NOTE), "has a tempo of 00070000 microseconds"),
        (HEADER + track(0, 0xFF, 0x58, 4, 0, 2, 24, 8, *NOTE), "has a time signature at tick 0 that is none: .* 0002"),
        (HEADER + track(0, 0xFF, 0x58, 4, 4, 200, 24, 8, *NOTE), "has a time signature at tick 0 that is none"),
        (HEADER + track(0, 0xFF, 0x58, 1, 4, *NOTE), "has a time signature at tick 0 that is none"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said(midi: bytes, text: str) -> None:
    with pytest.raises(MidiError, match=text.replace("(", r"\(")):
        read_song(midi)


def test_the_number_of_events_is_bounded() -> None:
    midi = midi_file(note_track(*[(tick, tick + 1, 60) for tick in range(0, 100, 2)]))
    assert len(read_song(midi, max_events=101).tracks[0].notes) == 50  # and the end of the track
    with pytest.raises(MidiError, match="has more than 100 events; cut it, or leave out controllers"):
        read_song(midi, max_events=100)


EIGHT_MB = HEADER[:10] + struct.pack(">HH", 1, 96) + b"MTrk" + struct.pack(">I", 8_000_004)


@pytest.mark.parametrize(
    ("content", "text"),
    [
        (bytes((0, 0xC0, 0, 0)) + bytes(8_000_000), "has more than 100,000 events"),  # four million, by running status
        (bytes((0, 0x90, 60, 60)) + bytes((0, 60, 60)) * 2_666_666 + b"\0\0", "has more than 100,000 events"),
        (bytes((0, 0x90, 60, 0)) + b"\x90" * 8_000_000, "has a number of more than four bytes"),
        (b"\xff" * 8_000_004, "has a number of more than four bytes"),
    ],
    ids=["programs", "notes", "statuses", "number"],
)
def test_hostile_sizes_end_at_a_bound(content: bytes, text: str) -> None:
    with pytest.raises(MidiError, match=text):
        read_song(EIGHT_MB + content)


def test_many_tracks_are_read_up_to_the_limit() -> None:
    midi = midi_file(*[note_track((0, 480, 60)) for _ in range(MAX_TRACKS)])
    assert len(read_song(midi).tracks) == MAX_TRACKS
    with pytest.raises(MidiError, match="has 256 tracks; allowed: 1 up to 10"):
        read_song(midi, max_tracks=10)


def test_running_status_and_velocity_0_are_understood() -> None:
    song = read_song(HEADER + track(0, 0x90, 60, 90, 16, 60, 0, 0, 62, 80, 16, 62, 0, 0, 0x91, 40, 1, 8, 40, 0, *END))
    assert [(part.channel, part.notes.tolist()) for part in song.tracks] == [
        (0, [[0, 16, 60, 90], [16, 32, 62, 80]]), (1, [[32, 40, 40, 1]]),
    ]  # fmt: skip


def test_running_status_goes_on_after_a_meta_event() -> None:
    """Against the standard, but some programs write so, and no reader minds."""
    assert notes_of(read_song(HEADER + track(0, 0x90, 60, 90, 0, 0xFF, 1, 0, 16, 60, 0, *END))) == [[[0, 16, 60]]]


def test_time_before_an_unknown_meta_event_counts() -> None:
    assert notes_of(read_song(HEADER + track(8, 0xFF, 0x08, 1, 0, *NOTE, *END))) == [[[8, 24, 60]]]


def test_of_one_pitch_the_first_note_ends_first() -> None:
    events = [
        (0, mido.Message("note_on", note=60)), (10, mido.Message("note_on", note=60)),
        (15, mido.Message("note_off", note=60)), (30, mido.Message("note_off", note=60)),
        (40, mido.Message("note_off", note=60)), (50, mido.Message("note_on", note=60)),
        (90, mido.MetaMessage("end_of_track")),
    ]  # fmt: skip
    assert notes_of(read_song(midi_file(events))) == [[[0, 15, 60], [10, 30, 60], [50, 90, 60]]]


def test_a_note_may_be_as_short_as_nothing() -> None:
    """And ends at its own end, not at that of the next."""
    assert notes_of(read_song(HEADER + track(0, 0x90, 60, 90, 0, 60, 0, 5, 60, 90, 5, 60, 0, *END))) == [
        [[0, 0, 60], [5, 10, 60]]
    ]


def test_names_programs_and_channels() -> None:
    melody = note_track((0, 480, 60), channel=3, program=25, name="Sólo ")
    melody += [(240, mido.Message("program_change", channel=3, program=99)), meta("track_name", 300, name="Not this")]
    both = note_track((0, 480, 40), channel=1, program=33, name="Both") + note_track((0, 240, 36), channel=9)
    silent = note_track(program=7, channel=4, name="Silent")
    song = read_song(midi_file([meta("track_name", name="The piece")], melody, silent, both))
    assert [(part.index, part.channel, part.name, part.program, part.drums) for part in song.tracks] == [
        (1, 3, "Sólo", 25, False), (3, 1, "Both", 33, False), (3, 9, "Both", 0, True),
    ]  # fmt: skip


def test_programs_may_stand_in_another_track() -> None:
    first = [(0, mido.Message("program_change", channel=2, program=40))]
    song = read_song(midi_file(first, note_track((0, 480, 60), channel=2), note_track((0, 480, 60), channel=3)))
    assert [part.program for part in song.tracks] == [40, 0]


def test_type_0_is_split_by_channel() -> None:
    events = [meta("track_name", name="The piece"), *note_track((0, 480, 60), channel=5, program=7)]
    events += note_track((0, 480, 36), channel=9) + note_track((0, 96, 40), channel=0)
    song = read_song(midi_file(events, kind=0))
    assert [(part.index, part.channel, part.name, part.program) for part in song.tracks] == [
        (0, 0, "Channel 1", 0), (1, 5, "Channel 6", 7), (2, 9, "Channel 10", 0),
    ]  # fmt: skip


def test_type_0_with_several_tracks_is_taken_as_type_1() -> None:
    midi = bytearray(midi_file(note_track((0, 480, 60), name="One"), note_track((0, 96, 40), channel=3, name="Two")))
    midi[9] = 0
    assert [(part.index, part.name) for part in read_song(bytes(midi)).tracks] == [(0, "One"), (1, "Two")]


def test_tempos_and_time_signatures_come_from_every_track() -> None:
    first = [meta("set_tempo", tempo=400_000), meta("set_tempo", 960, tempo=300_000),
             meta("set_tempo", 960, tempo=310_000)]  # fmt: skip
    second: list[tuple[int, Any]] = [meta("time_signature", 1920, numerator=3, denominator=8), (0, meta("text")[1])]
    song = read_song(midi_file(first, [*note_track((0, 4000, 60)), *second]))
    assert song.tempos.tolist() == [[0, 400_000], [960, 310_000]]
    assert song.time_signatures.tolist() == [[0, 4, 4], [1920, 3, 8]]
    assert song.tempo_bpm == 150
    assert song.end_tick == 4000
    plain = read_song(midi_file(note_track((0, 480, 60))))
    assert plain.tempos.shape == (0, 2)
    assert plain.tempos.dtype == np.int64
    assert plain.tempo_bpm == 120
    late = read_song(midi_file([meta("set_tempo", 5, tempo=400_000)], note_track((0, 480, 60))))
    assert late.tempo_bpm == 120


def test_what_follows_the_end_of_a_track_is_not_read() -> None:
    assert len(read_song(HEADER + track(*NOTE, *END, 0, 0x90, 70, 90, 1, 70, 0)).tracks[0].notes) == 1
    assert notes_of(read_song(HEADER + track(*NOTE))) == [[[0, 16, 60]]]  # nor is the end needed
    assert notes_of(read_song(HEADER + b"XFIH\x00\x00\x00\x02ab" + track(*NOTE, *END) + b"junk")) == [[[0, 16, 60]]]
