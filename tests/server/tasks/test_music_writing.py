"""Written MIDI: four readers that others made read back the same, and a caller's tracks stay as they came."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import mido
import music21
import numpy as np
import pretty_midi
import pytest
import symusic
from hypothesis import given, settings
from hypothesis import strategies as st

from muserve_server.tasks.music.events import split_chunks
from muserve_server.tasks.music.midi_reader import read_song
from muserve_server.tasks.music.midi_writer import MAX_TICK, free_channels, keep, write_song
from muserve_server.tasks.music.song import MidiError, Song, SongTrack
from tests.server.musical import meta, midi_file, note_track, notes_of, real_files, song_of

NAMES = ("Drums", "Keys", "Guitar", "Bass", "Strings")
CHANNELS = (9, 0, 1, 2, 3)
PROGRAMS = (0, 4, 25, 33, 48)
Notes = list[tuple[int, int, int, int]]


def piece(tempo_bpm: float = 97.3, *, bars: int = 4, seed: int = 0, resolution: int = 480) -> Song:
    """Five tracks with chords and repeated notes, nowhere two of a pitch at a time."""
    random = np.random.default_rng(seed)
    step = resolution // 4
    tracks = []
    for index, name in enumerate(NAMES):
        notes = []
        for pitch in random.choice(np.arange(30, 90), 6, replace=False).tolist():
            edges = np.sort(random.choice(np.arange(16 * bars + 1), 9, replace=False)) * step
            for start, end in zip(edges[:-1].tolist(), edges[1:].tolist(), strict=True):
                length = step if name == "Drums" else end - start
                notes.append((start, start + length, pitch, int(random.integers(1, 128))))
        array = np.array(sorted(notes, key=lambda note: (note[0], note[2])), dtype=np.int64)
        tracks.append(SongTrack(index, CHANNELS[index], name, PROGRAMS[index], array))
    return Song(
        ticks_per_beat=resolution,
        tracks=tuple(tracks),
        tempos=np.array([[0, round(60e6 / tempo_bpm)]]),
        time_signatures=np.array([[0, 4, 4]]),
        end_tick=16 * bars * step,
    )


def notes(song: Song) -> dict[str, Notes]:
    return {track.name: sorted(tuple(note) for note in track.notes.tolist()) for track in song.tracks}


@pytest.mark.parametrize("tempo_bpm", [40, 97.3, 120, 240])
def test_mido_reads_the_same(tempo_bpm: float) -> None:
    song = piece(tempo_bpm)
    file = mido.MidiFile(file=io.BytesIO(write_song(song, text="muserve {}")))
    assert (file.type, file.ticks_per_beat, len(file.tracks)) == (1, 480, 6)
    first = [message.dict() for message in file.tracks[0]]
    assert [message["type"] for message in first] == ["text", "set_tempo", "time_signature", "end_of_track"]
    assert first[0]["text"] == "muserve {}"
    assert first[1]["tempo"] == round(60e6 / tempo_bpm)
    assert mido.tempo2bpm(first[1]["tempo"]) == pytest.approx(tempo_bpm, abs=1e-3)
    assert (first[2]["numerator"], first[2]["denominator"]) == (4, 4)
    found: dict[str, Notes] = {}
    for track, channel, program in zip(file.tracks[1:], CHANNELS, PROGRAMS, strict=True):
        assert [message.type for message in track[:2]] == ["track_name", "program_change"]
        assert (track[1].channel, track[1].program) == (channel, program)
        assert sum(message.time for message in track) == song.end_tick
        tick, sounding = 0, dict[int, tuple[int, int]]()
        found[track.name] = []
        for message in track:
            tick += message.time
            if message.type == "note_on":
                sounding[message.note] = (tick, message.velocity)
            elif message.type == "note_off":
                start, velocity = sounding.pop(message.note)
                found[track.name].append((start, tick, message.note, velocity))
    assert {name: sorted(some) for name, some in found.items()} == notes(song)
    assert file.length == pytest.approx(16 * 60 / tempo_bpm, rel=1e-5)


@pytest.mark.parametrize("tempo_bpm", [40, 97.3, 240])
def test_symusic_reads_the_same(tempo_bpm: float) -> None:
    song = piece(tempo_bpm)
    score: Any = symusic.Score.from_midi(write_song(song, text="muserve {}"))
    assert score.ticks_per_quarter == 480
    assert [tempo.mspq for tempo in score.tempos] == [round(60e6 / tempo_bpm)]
    assert [(s.time, s.numerator, s.denominator) for s in score.time_signatures] == [(0, 4, 4)]
    assert [(t.name, t.program, t.is_drum) for t in score.tracks] == [
        (name, program, name == "Drums") for name, program in zip(NAMES, PROGRAMS, strict=True)
    ]
    found = {t.name: sorted((n.start, n.end, n.pitch, n.velocity) for n in t.notes) for t in score.tracks}
    assert found == notes(song)


@pytest.mark.parametrize("tempo_bpm", [40, 97.3, 240])
def test_pretty_midi_reads_the_same(tempo_bpm: float) -> None:
    song = piece(tempo_bpm)
    file = pretty_midi.PrettyMIDI(io.BytesIO(write_song(song, text="muserve {}")))
    _, tempos = file.get_tempo_changes()
    assert tempos.tolist() == pytest.approx([tempo_bpm], abs=1e-3)
    assert [(s.time, s.numerator, s.denominator) for s in file.time_signature_changes] == [(0, 4, 4)]
    assert [(i.name, i.program, i.is_drum) for i in file.instruments] == [
        (name, program, name == "Drums") for name, program in zip(NAMES, PROGRAMS, strict=True)
    ]
    found = {
        i.name: sorted((file.time_to_tick(n.start), file.time_to_tick(n.end), n.pitch, n.velocity) for n in i.notes)
        for i in file.instruments
    }
    assert found == notes(song)


@pytest.mark.parametrize("tempo_bpm", [40, 97.3, 240])
def test_music21_reads_the_same(tempo_bpm: float) -> None:
    song = piece(tempo_bpm)
    file = music21.midi.MidiFile()
    file.readstr(write_song(song, text="muserve {}"))
    score = music21.midi.translate.midiFileToStream(file, quantizePost=False)
    marks = [mark.number for mark in score.recurse().getElementsByClass(music21.tempo.MetronomeMark)]
    assert marks == pytest.approx([tempo_bpm] * len(marks), abs=0.01)
    assert {s.ratioString for s in score.recurse().getElementsByClass(music21.meter.TimeSignature)} == {"4/4"}
    parts = list(score.parts)
    assert [part.partName for part in parts] == list(NAMES)
    for part, program in zip(parts[1:], PROGRAMS[1:], strict=True):
        # For some names it guesses an instrument; the one that the file names follows it.
        *_, last = part.recurse().getElementsByClass(music21.instrument.Instrument)
        assert last.midiProgram == program
    # It makes chords of the notes; its events are as they were.
    for track, written in zip(file.tracks[1:], song.tracks, strict=True):
        tick, sounding, found = 0, dict[int, tuple[int, int]](), list[tuple[int, ...]]()
        for event in track.events:
            if event.isDeltaTime():
                tick += event.time
            elif event.isNoteOn():
                sounding[event.pitch or 0] = (tick, event.velocity or 0)
            elif event.isNoteOff():
                start, velocity = sounding.pop(event.pitch or 0)
                found.append((start, tick, event.pitch or 0, velocity))
        assert sorted(found) == sorted(tuple(note) for note in written.notes.tolist())


@given(st.integers(0, 2**32), st.sampled_from([4, 24, 96, 480, 32764]), st.integers(1, 40))
@settings(max_examples=40)
def test_we_read_the_same(seed: int, resolution: int, bars: int) -> None:
    song = piece(seed=seed, resolution=resolution, bars=bars)
    found = read_song(write_song(song))
    assert notes(found) == notes(song)
    assert [(t.channel, t.name, t.program) for t in found.tracks] == [
        (t.channel, t.name, t.program) for t in song.tracks
    ]
    assert (found.ticks_per_beat, found.end_tick) == (song.ticks_per_beat, song.end_tick)
    assert np.array_equal(found.tempos, song.tempos)
    assert np.array_equal(found.time_signatures, song.time_signatures)


def test_tracks_without_notes_are_there_with_name_and_program() -> None:
    song = song_of([(0, 480, 60)], [])
    file = mido.MidiFile(file=io.BytesIO(write_song(song)))
    assert [track.name for track in file.tracks] == ["", "Track 0", "Track 1"]
    assert [message.type for message in file.tracks[2]] == ["track_name", "program_change", "end_of_track"]
    assert sum(message.time for message in file.tracks[2]) == 480
    alone = mido.MidiFile(file=io.BytesIO(write_song(song_of([], []))))
    assert [len(track) for track in alone.tracks] == [3, 3, 3]


def test_long_rests_short_notes_and_many_changes_are_written() -> None:
    song = song_of([(0, 0, 60), (0, 5, 61), (127, 128, 60), (16_383, 16_384, 60), (2_097_151, 2_097_152, 60)])
    far = song_of([(MAX_TICK - 1, MAX_TICK, 60)], signatures=[(0, 3, 8), (960, 5, 4), (4000, 1, 64)])
    for some in (song, far):
        found = read_song(write_song(some))
        assert notes_of(found) == notes_of(some)
        assert np.array_equal(found.time_signatures, some.time_signatures)
    with pytest.raises(MidiError, match=f"lasts {MAX_TICK + 1} ticks; a file can count to {MAX_TICK}"):
        write_song(song_of([(MAX_TICK, MAX_TICK + 1, 60)]))


def events_of(midi: bytes) -> list[list[Any]]:
    return [[message.dict() for message in track] for track in mido.MidiFile(file=io.BytesIO(midi)).tracks]


def added(midi: bytes, *tracks: Sequence[tuple[int, int, int]]) -> bytes:
    file = split_chunks(midi, max_tracks=256)
    return keep(file, read_song(midi)).add(song_of(*tracks).tracks, "muserve {}", 4800)


@pytest.mark.parametrize("path", [path for path in real_files() if path.read_bytes()[9] == 1], ids=lambda p: p.stem)
def test_tracks_of_real_files_stay_byte_for_byte(path: Path) -> None:
    midi = path.read_bytes()
    before = split_chunks(midi, max_tracks=256)
    after = split_chunks(added(midi, [(0, 480, 60)], []), max_tracks=256)
    assert after.ticks_per_beat == before.ticks_per_beat
    assert len(after.tracks) == len(before.tracks) + 2
    text = b"\x00\xff\x01\x0amuserve {}"
    assert after.tracks[0].data == text + before.tracks[0].data
    assert [track.data for track in after.tracks[1:-2]] == [track.data for track in before.tracks[1:]]
    found, given = read_song(added(midi, [(0, 480, 60)], [])), read_song(midi)
    assert notes_of(found) == [*notes_of(given), [[0, 480, 60]]]
    assert np.array_equal(found.tempos, given.tempos)
    assert np.array_equal(found.time_signatures, given.time_signatures)


def test_a_track_is_kept_up_to_its_end() -> None:
    body = bytes((0, 0x90, 60, 90, 16, 60, 0))
    for data in (body, body + b"\x00\xff\x2f\x00", body + b"\x00\xff\x2f\x00rest"):
        midi = b"MThd\0\0\0\6\0\1\0\1\0\x60MTrk" + len(data).to_bytes(4, "big") + data
        (first, *_) = split_chunks(added(midi), max_tracks=9).tracks
        assert first.data == b"\x00\xff\x01\x0amuserve {}" + body + b"\x00\xff\x2f\x00"


def test_a_file_of_type_0_is_split_by_channel() -> None:
    events = [
        meta("track_name", name="The piece"), meta("set_tempo", tempo=400_000), meta("lyrics", 240, text="la"),
        (100, mido.Message("sysex", data=(1, 2))), (0, mido.Message("control_change", channel=7, control=7, value=9)),
        *note_track((0, 480, 60), (480, 960, 60), channel=5, program=7), *note_track((3, 9, 36), channel=9),
        (4, mido.Message("pitchwheel", channel=5, pitch=99)), (2000, mido.MetaMessage("end_of_track")),
    ]  # fmt: skip
    midi = midi_file(events, kind=0)
    found = mido.MidiFile(file=io.BytesIO(added(midi, [(0, 1, 2)])))
    assert found.type == 1
    assert [track.name for track in found.tracks] == ["The piece", "Channel 6", "Channel 10", "Track 0"]
    assert [sum(message.time for message in track) for track in found.tracks] == [2000, 2000, 2000, 4800]
    assert [message.type for message in found.tracks[0]] == [
        "text", "track_name", "set_tempo", "control_change", "sysex", "lyrics", "end_of_track",
    ]  # fmt: skip

    def at_ticks(tracks: Sequence[Any]) -> list[tuple[int, str]]:
        listed = []
        for track in tracks:
            tick = 0
            for message in track:
                tick += message.time
                if not (message.type in ("track_name", "end_of_track", "text") and message.is_meta):
                    listed.append((tick, str(message.copy(time=0))))
        return sorted(listed)

    assert at_ticks(found.tracks[:-1]) == at_ticks(mido.MidiFile(file=io.BytesIO(midi)).tracks)
    given = read_song(midi)
    assert notes_of(read_song(added(midi))) == notes_of(given)


@pytest.mark.parametrize("path", [path for path in real_files() if path.read_bytes()[9] == 0], ids=lambda p: p.stem)
def test_real_files_of_type_0_keep_their_notes(path: Path) -> None:
    midi = path.read_bytes()
    found, given = read_song(added(midi, [(0, 480, 60)])), read_song(midi)
    assert notes_of(found)[:-1] == notes_of(given)
    assert [(t.channel, t.name, t.program) for t in found.tracks[:-1]] == [
        (t.channel, t.name, t.program) for t in given.tracks
    ]
    assert np.array_equal(found.tempos, given.tempos)


def test_free_channels_are_those_without_any_event() -> None:
    events = [*note_track((0, 1, 60), channel=3), (0, mido.Message("pitchwheel", channel=0))]
    assert free_channels(split_chunks(midi_file(events), max_tracks=9)) == [1, 2, *range(4, 9), *range(10, 16)]
