"""Notes to piano rolls on a model's grid, and back by the decoding rule of its manifest. Pure functions.

A roll is [bar, track, step, pitch]. Onsets are kept apart from holds, so that repeated notes survive.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_server.tasks.music.song import MidiError, Song

__all__ = ["Bars", "Fit", "Grid", "Rolls", "lay_bars", "to_notes", "to_rolls"]

MAX_BARS = 8192
_OCTAVE = 12
_ON_GRID_STEPS = 0.1
_US_PER_MINUTE = 60e6
_DEFAULT_TEMPO_BPM = 120.0  # what the standard says of a piece before its first tempo

Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Grid:
    """The steps and pitches of a model."""

    bars: int
    """Bars of a phrase: one run of the model."""
    beats_per_bar: int
    beat_unit: int
    """Note value of a beat: 4 for quarters."""
    steps_per_bar: int
    lowest_pitch: int
    """MIDI number."""
    pitches: int
    """Number of pitches, semitones apart."""

    @classmethod
    def of(cls, settings: manifest_pb2.MusicSettings) -> Grid:
        """Takes the grid from a manifest."""
        return cls(
            bars=settings.bars,
            beats_per_bar=settings.beats_per_bar,
            beat_unit=settings.beat_unit,
            steps_per_bar=settings.steps_per_bar,
            lowest_pitch=settings.lowest_pitch,
            pitches=settings.pitches,
        )

    def bar_ticks(self, ticks_per_beat: int) -> float:
        """Returns the ticks of a bar, at a number of ticks a quarter note."""
        return 4 * ticks_per_beat * self.beats_per_bar / self.beat_unit


@dataclass(frozen=True)
class Bars:
    """Where a song's bars are."""

    starts: Floats
    """[bar + 1], in ticks; the last is the end. Exact: note values are powers of two."""
    whole: Flags
    """[bar]: whether the bar is entirely in the grid's metre."""


@dataclass(frozen=True)
class Fit:
    """How well notes fit the grid; see `muserve.v1.Quantisation`."""

    notes: int
    """Notes with a role, in whole bars."""
    folded_notes: int
    """Those whose pitch was moved by octaves."""
    mean_error_steps: float
    """0 up to 0.5; 0 without notes."""
    on_grid_share: float
    """0 up to 1; 1 without notes."""


@dataclass(frozen=True)
class Rolls:
    """A whole song on a grid."""

    onset: Flags
    """[bar, track, step, pitch]: a note begins."""
    hold: Flags
    """[bar, track, step, pitch]: a note that began before still sounds; never together with an onset."""
    tempo_bpm: NDArray[np.float32]
    """[bar]: at the bar's middle, quarter notes a minute; 0 if the file names no tempo."""
    whole: Flags
    """[bar]: whether the bar is entirely in the grid's metre. The rolls of others are empty."""
    fit: Fit
    bars: Bars


def lay_bars(song: Song, grid: Grid, *, max_bars: int = MAX_BARS) -> Bars:
    """Lays out a song's bars by its time signatures, from its beginning to its last note.

    A signature that begins inside a bar ends that bar. Bars count as the grid's only where their signature is the
    grid's: two bars of 2/4 are not one of 4/4.

    Raises:
        MidiError: There are more than `max_bars`.
    """
    step_ticks = grid.bar_ticks(song.ticks_per_beat) / grid.steps_per_bar
    # A note that is let go a little late does not begin another bar, one that is struck a little early does.
    end = max(
        max(notes[:, 0].max() + step_ticks / 2, notes[:, 1].max() - step_ticks / 2)
        for notes in (track.notes for track in song.tracks)
    )
    changes = song.time_signatures[song.time_signatures[:, 0] <= end]
    starts, whole, count = list[Floats](), list[Flags](), 0
    for index, (tick, beats, unit) in enumerate(changes.tolist()):
        is_last = index + 1 == len(changes)
        length = 4 * song.ticks_per_beat * beats / unit
        size = (end - tick) / length if is_last else (changes[index + 1, 0] - tick) / length
        bars = int(size) + 1 if is_last else int(-(-size // 1))
        count += bars
        if count > max_bars:
            raise MidiError(f"has more than {max_bars:,} bars, up to its last note at tick {end:.0f}")
        starts.append(tick + length * np.arange(bars, dtype=np.float64))
        is_grid = (beats, unit) == (grid.beats_per_bar, grid.beat_unit)
        whole.append(np.full(bars, is_grid))
        whole[-1][-1:] &= is_last or size == int(size)
        if is_last:
            starts.append(np.array([tick + length * bars]))
    return Bars(np.concatenate(starts), np.concatenate(whole))


def to_rolls(
    song: Song,
    roles: Sequence[int | None],
    grid: Grid,
    tracks: Sequence[manifest_pb2.MusicTrackSettings],
    *,
    max_bars: int = MAX_BARS,
) -> Rolls:
    """Puts a whole song on a grid.

    Starts and ends go to the nearest step; a note keeps at least one step, and ends where its pitch begins again.
    Pitches beyond the grid move by octaves, drums beyond it are left out, and so are notes in bars that are not whole.

    Args:
        song: The song.
        roles: For each of the song's tracks the index among `tracks`; None to leave it out.
        grid: The model's grid.
        tracks: The model's tracks. Those of drums have onsets only.
        max_bars: Most bars.

    Raises:
        MidiError: There are more than `max_bars`.
    """
    bars = lay_bars(song, grid, max_bars=max_bars)
    columns = [
        np.column_stack([np.full(len(track.notes), role), track.notes[:, :3]])
        for track, role in zip(song.tracks, roles, strict=True)
        if role is not None
    ]
    notes = np.concatenate([np.empty((0, 4), np.int64), *columns])  # track, start tick, end tick, pitch
    is_drums = np.array([track.drums for track in tracks])
    step_ticks = grid.bar_ticks(song.ticks_per_beat) / grid.steps_per_bar
    start, error, inside = _nearest_steps(notes[:, 1], bars, grid, step_ticks)
    end, _, _ = _nearest_steps(notes[:, 2], bars, grid, step_ticks)
    pitch, folded = _fold(notes[:, 3], grid, is_drums[notes[:, 0]])
    kept = inside & (pitch >= 0)
    track, start, pitch, folded = notes[kept, 0], start[kept], pitch[kept], folded[kept]
    end = np.where(is_drums[track], start + 1, np.minimum(np.maximum(end[kept], start + 1), _breaks(bars, grid)[start]))
    shape = (len(bars.whole), len(tracks), grid.steps_per_bar, grid.pitches)
    onset, hold = _fill(track, start, end, pitch, shape)
    return Rolls(
        onset=onset,
        hold=hold,
        tempo_bpm=_tempos(song, bars),
        whole=bars.whole,
        fit=_fit(error[kept], folded),
        bars=bars,
    )


def to_notes(onset: NDArray[Any], hold: NDArray[Any] | None, settings: manifest_pb2.MusicSettings) -> list[Integers]:
    """Makes notes of rolls by the decoding rule of a manifest.

    A note begins where the onset is above its threshold, and goes on while the hold is above its own and its pitch does
    not begin again; holds without a beginning are nothing. It lasts at least min_note_steps, but never into the next
    note of its pitch nor beyond the piece. Of more than max_notes_per_step that begin together the highest onsets stay,
    the lower pitch of equals.

    Args:
        onset: [bar, track, step, pitch], any number or bool.
        hold: The same shape; None for notes of one step.
        settings: The manifest's music settings.

    Returns:
        For each track the notes, int64 [note, 4]: start step, end step, pitch as MIDI number, velocity; by start, then
        pitch. Steps are counted from the first bar's.
    """
    bars, _, steps, pitches = onset.shape
    on_values = np.moveaxis(onset, 1, 0).reshape(-1, bars * steps, pitches)  # [track, time, pitch]
    sounding = None
    if hold is not None:
        sounding = np.moveaxis(hold, 1, 0).reshape(on_values.shape) > settings.hold_threshold
    notes = []
    for index, track in enumerate(settings.tracks):
        begins = on_values[index] > settings.onset_threshold
        if track.max_notes_per_step:
            begins = _keep_highest(on_values[index], begins, track.max_notes_per_step)
        start, pitch = np.nonzero(begins)
        end = start + 1
        if not track.drums:
            next_onset = _next(begins)[start + 1, pitch]
            if sounding is not None:
                end = np.minimum(_next(~sounding[index])[start + 1, pitch], next_onset)
            end = np.maximum(end, np.minimum(start + (track.min_note_steps or 1), next_onset))
        beat_steps = steps // settings.beats_per_bar or 1
        on_beat = start % steps % beat_steps == 0
        velocity = np.where(on_beat, track.velocity, track.off_beat_velocity)
        notes.append(np.column_stack([start, end, pitch + settings.lowest_pitch, velocity]).astype(np.int64))
    return notes


def _nearest_steps(ticks: Integers, bars: Bars, grid: Grid, step_ticks: float) -> tuple[Integers, Floats, Flags]:
    """Returns for each tick the nearest step from the beginning, the distance in steps, and if its bar is whole."""
    last = len(bars.whole) - 1
    bar = np.clip(np.searchsorted(bars.starts, ticks, side="right") - 1, 0, last)
    position = (ticks - bars.starts[bar]) / step_ticks
    step = np.floor(position + 0.5)
    # A bar that is not whole has no steps, but what is just before its end belongs to the next bar.
    left = (bars.starts[bar + 1] - ticks) / step_ticks
    is_next = np.where(bars.whole[bar], step >= grid.steps_per_bar, left <= 0.5)
    error = np.where(bars.whole[bar], np.abs(position - step), left)
    bar = bar + is_next
    step = np.where(is_next, 0, step)
    inside = (bar <= last) & bars.whole[np.minimum(bar, last)]
    return (bar * grid.steps_per_bar + np.minimum(step, grid.steps_per_bar - 1)).astype(np.int64), error, inside


def _fold(pitch: Integers, grid: Grid, is_drums: Flags) -> tuple[Integers, Flags]:
    """Returns the rows of the pitches, moved by octaves into the grid; -1 where that cannot be; and which moved."""
    row = pitch - grid.lowest_pitch
    below = -(np.minimum(row, 0) // _OCTAVE)
    above = -(-np.maximum(row - (grid.pitches - 1), 0) // _OCTAVE)
    folded = row + _OCTAVE * (below - above)
    fits = (folded >= 0) & (folded < grid.pitches) & ~(is_drums & (folded != row))
    return np.where(fits, folded, -1), folded != row


def _breaks(bars: Bars, grid: Grid) -> Integers:
    """Returns for each step where a note that sounds in it must end: at the next bar that is not whole, or the end."""
    count = len(bars.whole)
    bar = np.where(bars.whole, count, np.arange(count))
    next_break = np.minimum.accumulate(bar[::-1])[::-1] * grid.steps_per_bar
    return np.repeat(next_break, grid.steps_per_bar)


def _fill(
    track: Integers, start: Integers, end: Integers, pitch: Integers, shape: tuple[int, int, int, int]
) -> tuple[Flags, Flags]:
    """Returns onset and hold, [bar, track, step, pitch]; a note ends where its pitch begins again."""
    steps, pitches = shape[2:]
    order = np.lexsort((-end, start, pitch, track))  # of notes that begin together the longest is the first
    track, start, end, pitch = track[order], start[order], end[order], pitch[order]
    line = track * pitches + pitch
    is_first = np.ones(len(line), dtype=bool)
    is_first[1:] = (line[1:] != line[:-1]) | (start[1:] != start[:-1])
    track, start, end, pitch, line = (column[is_first] for column in (track, start, end, pitch, line))
    follows = line[1:] == line[:-1]
    end[:-1] = np.where(follows, np.minimum(end[:-1], start[1:]), end[:-1])
    onset, hold = np.zeros(shape, dtype=bool), np.zeros(shape, dtype=bool)
    onset[start // steps, track, start % steps, pitch] = True
    lengths = end - start - 1
    note = np.repeat(np.arange(len(start)), lengths)
    step = start[note] + 1 + np.arange(len(note)) - np.repeat(np.cumsum(lengths) - lengths, lengths)
    hold[step // steps, track[note], step % steps, pitch[note]] = True
    return onset, hold


def _tempos(song: Song, bars: Bars) -> NDArray[np.float32]:
    middle = (bars.starts[:-1] + bars.starts[1:]) / 2
    if not len(song.tempos):
        return np.zeros(len(middle), dtype=np.float32)
    change = np.searchsorted(song.tempos[:, 0], middle, side="right") - 1
    tempo_bpm = _US_PER_MINUTE / song.tempos[np.maximum(change, 0), 1]
    return np.where(change < 0, _DEFAULT_TEMPO_BPM, tempo_bpm).astype(np.float32)


def _fit(error: Floats, folded: Flags) -> Fit:
    if not len(error):
        return Fit(notes=0, folded_notes=0, mean_error_steps=0.0, on_grid_share=1.0)
    on_grid = np.mean(error <= _ON_GRID_STEPS)
    return Fit(len(error), int(np.count_nonzero(folded)), float(error.mean()), float(on_grid))


def _next(flags: Flags) -> Integers:
    """Returns for each time the first at or after it whose flag is set, [time + 1, pitch]; the end if there is none."""
    count = len(flags)
    times = np.where(flags, np.arange(count)[:, None], count)
    after = np.full((count + 1, flags.shape[1]), count)
    after[:-1] = np.minimum.accumulate(times[::-1])[::-1]
    return after


def _keep_highest(values: NDArray[Any], begins: Flags, most: int) -> Flags:
    """Leaves, where more than `most` notes begin at one time, those of the highest values. All [time, pitch]."""
    crowded = np.flatnonzero(np.count_nonzero(begins, axis=1) > most)
    if not len(crowded):
        return begins
    ranked = np.where(begins[crowded], -values[crowded].astype(np.float64), np.inf)
    best = np.argsort(ranked, axis=1, kind="stable")[:, :most]
    kept = np.zeros((len(crowded), begins.shape[1]), dtype=bool)
    np.put_along_axis(kept, best, values=True, axis=1)
    begins = begins.copy()
    begins[crowded] = kept
    return begins
