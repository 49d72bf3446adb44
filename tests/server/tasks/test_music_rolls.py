"""Notes on a model's grid and back: the nearest step, bars and their metres, and the decoding rule."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_server.tasks.music.grid import Grid, lay_bars
from muserve_server.tasks.music.midi_reader import read_song
from muserve_server.tasks.music.midi_writer import write_song
from muserve_server.tasks.music.rolls import Rolls, to_notes, to_rolls
from muserve_server.tasks.music.song import MidiError, Song, SongTrack
from tests.server.musical import STANDARD, Note, meta, midi_file, note_track, song_of, standard_settings

GRID = Grid.of(STANDARD)
STEP = 120
BAR = 16 * STEP
DRUMS, KEYS, BASS = 0, 1, 3

Flags = NDArray[np.bool_]


def rolls_of(*notes: Note, role: int = KEYS, **fields: Any) -> Rolls:
    return to_rolls(song_of(notes, **fields), [role], GRID, STANDARD.tracks)


def found(rolls: Rolls, role: int = KEYS) -> list[tuple[int, int, int]]:
    """Notes of a track as start step, end step, pitch; by the decoding rule."""
    return [tuple(note[:3]) for note in to_notes(rolls.onset, rolls.hold, STANDARD)[role].tolist()]


def steps_of(roll: Flags, role: int = KEYS) -> list[tuple[int, int]]:
    """Where a track's roll is set: step from the beginning, and pitch."""
    bar, step, pitch = np.nonzero(roll[:, role])
    return sorted(zip((bar * 16 + step).tolist(), (pitch + 24).tolist(), strict=True))


def test_notes_go_to_the_nearest_step() -> None:
    rolls = rolls_of((0, 240, 60), (170, 490, 62), (179, 181, 64), (1920 + 59, 1920 + 61, 60))
    assert steps_of(rolls.onset) == [(0, 60), (1, 62), (1, 64), (16, 60)]
    assert steps_of(rolls.hold) == [(1, 60), (2, 62), (3, 62)]
    assert rolls.onset.shape == (2, 5, 16, 84)
    assert found(rolls) == [(0, 2, 60), (1, 4, 62), (1, 2, 64), (16, 17, 60)]
    errors = [0, 50 / 120, 59 / 120, 59 / 120]
    assert rolls.fit.notes == 4
    assert rolls.fit.mean_error_steps == pytest.approx(np.mean(errors))
    assert rolls.fit.on_grid_share == 0.25


def test_short_notes_keep_a_step_and_so_do_those_without_length() -> None:
    rolls = rolls_of((0, 10, 60), (STEP, STEP, 61), (BAR - 5, BAR, 62))
    assert found(rolls) == [(0, 1, 60), (1, 2, 61), (16, 17, 62)]
    assert len(rolls.whole) == 2  # the last is struck a little early


def test_repeated_notes_survive() -> None:
    """Each ends where the next begins, also where they overlap or the first is longer than both."""
    rolls = rolls_of((0, 1000, 60), (STEP, 2 * STEP, 60), (2 * STEP, 6 * STEP, 60), (4 * STEP, 8 * STEP, 60))
    assert found(rolls) == [(0, 1, 60), (1, 2, 60), (2, 4, 60), (4, 8, 60)]
    assert not (rolls.onset & rolls.hold).any()


def test_of_notes_that_begin_together_the_longest_counts() -> None:
    rolls = to_rolls(
        song_of([(0, 240, 60)], [(10, 960, 60)], [(0, 120, 60)]), [KEYS, KEYS, BASS], GRID, STANDARD.tracks
    )
    assert found(rolls) == [(0, 8, 60)]
    assert found(rolls, BASS) == [(0, 1, 60)]


def test_drums_have_onsets_alone() -> None:
    rolls = rolls_of((0, 960, 36), (0, 960, 23), (0, 960, 108), (480, 960, 36), role=DRUMS)
    assert steps_of(rolls.onset, DRUMS) == [(0, 36), (4, 36)]
    assert not rolls.hold.any()
    assert rolls.fit.notes == 2


@pytest.mark.parametrize(
    ("pitch", "row"), [(23, 35), (0, 24), (12, 24), (11, 35), (24, 24), (107, 107), (108, 96), (127, 103)]
)
def test_pitches_beyond_the_grid_move_by_octaves(pitch: int, row: int) -> None:
    rolls = rolls_of((0, 240, pitch))
    assert steps_of(rolls.onset) == [(0, row)]
    assert rolls.fit.folded_notes == (pitch != row)


def test_pitches_that_no_octave_brings_in_are_left_out() -> None:
    few = standard_settings(lowest_pitch=60, pitches=5)
    rolls = to_rolls(song_of([(0, 240, 60), (0, 240, 74), (0, 240, 66)]), [KEYS], Grid.of(few), few.tracks)
    assert (rolls.fit.notes, rolls.fit.folded_notes) == (2, 1)
    assert np.flatnonzero(rolls.onset[0, KEYS, 0]).tolist() == [0, 2]


def test_tracks_without_a_role_are_left_out() -> None:
    rolls = to_rolls(song_of([(0, 240, 60)], [(0, 240, 62)]), [None, BASS], GRID, STANDARD.tracks)
    assert steps_of(rolls.onset, BASS) == [(0, 62)]
    assert rolls.fit.notes == 1
    assert np.count_nonzero(rolls.onset) == 1
    silent = to_rolls(song_of([(0, 240, 60)]), [None], GRID, STANDARD.tracks)
    assert not silent.onset.any()
    assert (silent.fit.notes, silent.fit.mean_error_steps, silent.fit.on_grid_share) == (0, 0.0, 1.0)


def test_bars_follow_the_time_signatures() -> None:
    """4/4, then a bar of 3/4, then two of 2/4, which are not one of 4/4; and 4/4 again, a sixteenth too short, cut."""
    signatures = [(0, 4, 4), (BAR, 3, 4), (BAR + 1440, 2, 4), (2 * BAR + 1440, 4, 4), (3 * BAR + 1320, 4, 4)]
    last = 3 * BAR + 1320
    song = song_of(
        [(0, 240, 60), (BAR, BAR + 240, 61), (BAR + 1440, 8000, 62), (last, last + 240, 63)], signatures=signatures
    )
    bars = lay_bars(song, GRID)
    assert bars.starts.tolist() == [0, 1920, 3360, 4320, 5280, 7080, 9000]
    assert bars.whole.tolist() == [True, False, False, False, False, True]
    rolls = to_rolls(song, [KEYS], GRID, STANDARD.tracks)
    assert steps_of(rolls.onset) == [(0, 60), (80, 63)]
    assert rolls.missed.tolist() == [False, True, True, False, False, False]
    assert rolls.fit.notes == 2


def test_a_note_ends_before_a_bar_of_another_metre_and_may_be_struck_early_after_it() -> None:
    signatures = [(0, 4, 4), (BAR, 3, 4), (BAR + 1440, 4, 4)]
    rolls = rolls_of((BAR - 240, 2 * BAR + 1440, 60), (BAR + 1440 - 30, BAR + 1680, 62), signatures=signatures)
    assert found(rolls) == [(14, 16, 60), (32, 34, 62)]
    assert not rolls.onset[1].any()
    assert not rolls.hold[1].any()
    assert rolls.fit.mean_error_steps == pytest.approx(0.125)


@pytest.mark.parametrize(
    ("beats", "unit", "whole"), [(4, 4, True), (2, 2, False), (8, 8, False), (3, 4, False), (6, 8, False)]
)
def test_only_the_models_own_metre_is_whole(beats: int, unit: int, whole: bool) -> None:
    assert rolls_of((0, 240, 60), signatures=[(0, beats, unit)]).whole.tolist() == [whole]


def test_a_last_bar_need_not_be_full() -> None:
    assert rolls_of((0, 240, 60)).whole.tolist() == [True]
    assert len(rolls_of((0, BAR, 60)).whole) == 1
    assert len(rolls_of((0, BAR + STEP // 2 - 1, 60)).whole) == 1  # let go a little late
    assert len(rolls_of((0, BAR + STEP, 60)).whole) == 2


@pytest.mark.parametrize("ticks_per_beat", [4, 7, 24, 96, 1000, 32767])
def test_any_resolution_has_the_same_steps(ticks_per_beat: int) -> None:
    notes = [(step * ticks_per_beat // 4, (step + 2) * ticks_per_beat // 4, 60 + step % 12) for step in range(0, 40, 3)]
    midi = midi_file(note_track(*notes), ticks_per_beat=ticks_per_beat)
    rolls = to_rolls(read_song(midi), [KEYS], GRID, STANDARD.tracks)
    if ticks_per_beat % 4 == 0:
        assert rolls.fit.mean_error_steps == 0
    assert [note[0] for note in found(rolls)] == list(range(0, 40, 3))


def test_each_bar_has_its_tempo() -> None:
    tempos = [meta("set_tempo", 480, tempo=400_000), meta("set_tempo", BAR + 1000, tempo=300_000)]
    rolls = to_rolls(read_song(midi_file(tempos, note_track((0, 3 * BAR, 60)))), [KEYS], GRID, STANDARD.tracks)
    assert rolls.tempo_bpm.tolist() == [150, 150, 200]
    late = to_rolls(
        read_song(midi_file([meta("set_tempo", BAR, tempo=400_000)], note_track((0, 2 * BAR, 60)))),
        [KEYS], GRID, STANDARD.tracks,
    )  # fmt: skip
    assert late.tempo_bpm.tolist() == [120, 150]
    none = to_rolls(read_song(midi_file(note_track((0, 240, 60)))), [KEYS], GRID, STANDARD.tracks)
    assert none.tempo_bpm.tolist() == [0]
    assert none.tempo_bpm.dtype == np.float32


def test_the_number_of_bars_is_bounded() -> None:
    assert len(lay_bars(song_of([(0, 20 * BAR, 60)]), GRID, max_bars=20).whole) == 20
    for song in (
        song_of([(0, 20 * BAR + STEP, 60)]),
        song_of([(2**50, 2**50, 60)]),
        song_of([(0, 120, 60), (2**40, 2**40, 60)], signatures=[(0, 1, 64), (2**40 - 9, 4, 4)]),
    ):
        with pytest.raises(MidiError, match="has more than 20 bars, up to its last note at tick"):
            to_rolls(song, [KEYS], GRID, STANDARD.tracks, max_bars=20)


@given(st.data())
@settings(max_examples=80)
def test_rolls_to_midi_and_back_are_the_same(data: st.DataObject) -> None:
    steps = data.draw(st.sampled_from([1, 4, 8, 12, 16, 24]))
    settings_ = standard_settings(
        steps_per_bar=steps, lowest_pitch=data.draw(st.integers(0, 60)), pitches=data.draw(st.integers(1, 60))
    )
    bars = data.draw(st.integers(1, 5))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shape = (bars, 5, steps, settings_.pitches)
    onset = random.random(shape) < data.draw(st.sampled_from([0.01, 0.1, 0.5, 0.9]))
    hold = without_loose_holds(onset, random.random(shape) < data.draw(st.sampled_from([0.0, 0.3, 0.9])))
    onset[-1, KEYS, -1, 0] = True  # so that no bar at the end is lost
    hold[-1, KEYS, -1, 0] = False
    tracks = []
    for index, notes in enumerate(to_notes(onset, hold, settings_)):
        notes[:, :2] *= 1920 // steps
        tracks.append(SongTrack(index, (9, 0, 1, 2, 3)[index], str(index), 0, notes))
    song = Song(480, tuple(tracks), np.array([[0, 500_000]]), np.array([[0, 4, 4]]), 1920 * bars)
    found = read_song(write_song(song))
    roles = [[9, 0, 1, 2, 3].index(track.channel) for track in found.tracks]
    rolls = to_rolls(found, roles, Grid.of(settings_), settings_.tracks)
    assert np.array_equal(rolls.onset, onset)
    assert np.array_equal(rolls.hold, hold)
    assert rolls.fit.mean_error_steps == 0
    assert rolls.fit.folded_notes == 0


def without_loose_holds(onset: Flags, hold: Flags) -> Flags:
    bars, tracks, steps, pitches = onset.shape
    onset_in_time = onset.transpose(0, 2, 1, 3).reshape(bars * steps, tracks, pitches)
    hold_in_time = hold.transpose(0, 2, 1, 3).reshape(bars * steps, tracks, pitches) & ~onset_in_time
    hold_in_time[:, DRUMS] = False
    hold_in_time[0] = False
    for step in range(1, bars * steps):
        hold_in_time[step] &= onset_in_time[step - 1] | hold_in_time[step - 1]
    return np.ascontiguousarray(hold_in_time.reshape(bars, steps, tracks, pitches).transpose(0, 2, 1, 3))


def plainly(
    onset: NDArray[Any], hold: NDArray[Any] | None, settings: manifest_pb2.MusicSettings
) -> list[list[list[int]]]:
    """The decoding rule, step by step."""
    bars, tracks, steps, pitches = onset.shape
    found: list[list[list[int]]] = []
    for index in range(tracks):
        track, notes = settings.tracks[index], list[list[int]]()
        begins: dict[int, list[int]] = {}
        for time in range(bars * steps):
            values = onset[time // steps, index, time % steps]
            pitches_here = [pitch for pitch in range(pitches) if values[pitch] > settings.onset_threshold]
            if track.max_notes_per_step:
                pitches_here = sorted(pitches_here, key=lambda p: -float(values[p]))[: track.max_notes_per_step]
            begins[time] = sorted(pitches_here)
        for time in range(bars * steps):
            for pitch in begins[time]:
                end, going = time + 1, not track.drums
                while end < bars * steps and pitch not in begins[end] and not track.drums:
                    bar, step = divmod(end, steps)
                    going = going and hold is not None and hold[bar, index, step, pitch] > settings.hold_threshold
                    if not going and end - time >= max(track.min_note_steps, 1):
                        break
                    end += 1
                on_beat = time % steps % max(steps // settings.beats_per_bar, 1) == 0
                velocity = track.velocity if on_beat else track.off_beat_velocity
                notes.append([time, end, pitch + settings.lowest_pitch, velocity])
        found.append(notes)
    return found


@given(st.data())
@settings(max_examples=80)
def test_the_decoding_rule(data: st.DataObject) -> None:
    thresholds = st.sampled_from([-0.5, 0.0, 0.7])
    rule = standard_settings(
        lowest_pitch=data.draw(st.integers(0, 100)), pitches=data.draw(st.integers(1, 8)),
        steps_per_bar=data.draw(st.sampled_from([1, 3, 4, 8])), onset_threshold=data.draw(thresholds),
        hold_threshold=data.draw(thresholds),
    )  # fmt: skip
    for track in rule.tracks:
        track.min_note_steps = data.draw(st.integers(0, 4))
        track.max_notes_per_step = data.draw(st.integers(0, 3))
    random = np.random.default_rng(data.draw(st.integers(0, 2**32)))
    shape = (data.draw(st.integers(1, 3)), 5, rule.steps_per_bar, rule.pitches)
    # Few values, so that many are equal, and some are the thresholds.
    onset, hold = (random.choice(np.array([-1, -0.5, 0, 0.7, 0.9], np.float32), shape) for _ in range(2))
    given_hold: Sequence[NDArray[Any] | None] = (hold, None)
    for some_hold in given_hold:
        notes = to_notes(onset, some_hold, rule)
        assert [track.tolist() for track in notes] == plainly(onset, some_hold, rule)
        assert all(track.dtype == np.int64 and track.shape[1:] == (4,) for track in notes)
