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
from muserve_server.tasks.music.grid import MAX_BARS, Bars, Grid, lay_bars
from muserve_server.tasks.music.song import DEFAULT_TEMPO_BPM, US_PER_MINUTE, Song

__all__ = ["Fit", "Grid", "Rolls", "flags_to_notes", "to_flags", "to_notes", "to_rolls"]

_OCTAVE = 12
_ON_GRID_STEPS = 0.1

Flags = NDArray[np.bool_]
Integers = NDArray[np.int64]
Floats = NDArray[np.float64]


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
    missed: Flags
    """[bar]: whether notes with a role were left out, because the bar is not whole."""
    fit: Fit
    bars: Bars


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
        max_bars: Maximum bars.

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
    step_ticks = grid.step_ticks(song.ticks_per_beat)
    start, error, inside = _nearest_steps(notes[:, 1], bars, grid, step_ticks)
    end, _, _ = _nearest_steps(notes[:, 2], bars, grid, step_ticks)
    pitch, folded = _fold(notes[:, 3], grid, is_drums[notes[:, 0]])
    kept = inside & (pitch >= 0)
    track, start, pitch, folded = notes[kept, 0], start[kept], pitch[kept], folded[kept]
    end = np.where(
        is_drums[track],
        start + 1,
        np.minimum(np.maximum(end[kept], start + 1), bars.ends_of(grid.steps_per_bar)[start]),
    )
    shape = (len(bars.whole), len(tracks), grid.steps_per_bar, grid.pitches)
    onset, hold = _fill(track, start, end, pitch, shape)
    missed = np.zeros(len(bars.whole), dtype=bool)
    missed[_bar_of(notes[~inside, 1], bars)] = True
    return Rolls(
        onset=onset,
        hold=hold,
        tempo_bpm=_tempos(song, bars),
        whole=bars.whole,
        missed=missed,
        fit=_fit(error[kept], folded),
        bars=bars,
    )


def to_notes(onset: NDArray[Any], hold: NDArray[Any] | None, settings: manifest_pb2.MusicSettings) -> list[Integers]:
    """Decodes a graph's output to notes by the decoding rule of a manifest: `to_flags`, then `flags_to_notes`.

    Args:
        onset: [bar, track, step, pitch], any number or bool.
        hold: The same shape; None for notes of one step.
        settings: The manifest's music settings.

    Returns:
        As `flags_to_notes`.
    """
    return flags_to_notes(*to_flags(onset, hold, settings), settings)


def to_flags(
    onset: NDArray[Any], hold: NDArray[Any] | None, settings: manifest_pb2.MusicSettings
) -> tuple[Flags, Flags]:
    """Thresholds a graph's output to onsets and holds: the part of the decoding rule that looks at single steps.

    A note begins where the onset is above its threshold; of more than max_notes_per_step that begin together in a track
    the highest onsets stay, the lower pitch of equals. It sounds where the hold is above its own threshold.

    Args:
        onset: [..., track, step, pitch], any number or bool.
        hold: The same shape; None for notes of one step.
        settings: The manifest's music settings.

    Returns:
        Both of the same shape: where a note begins, and where one that began before still sounds.
    """
    begins = onset > settings.onset_threshold
    for index, track in enumerate(settings.tracks):
        if track.max_notes_per_step:
            _keep_highest(onset[..., index, :, :], begins[..., index, :, :], track.max_notes_per_step)
    sounding = np.zeros_like(begins) if hold is None else (hold > settings.hold_threshold) & ~begins
    return begins, sounding


def flags_to_notes(begins: Flags, sounding: Flags, settings: manifest_pb2.MusicSettings) -> list[Integers]:
    """Turns onsets and holds into notes.

    A note goes on while its pitch sounds without a gap; a hold without an onset is ignored. It lasts at least
    min_note_steps, but never into the next note of its pitch nor beyond the piece. Notes of drums last one step.

    Args:
        begins: [bar, track, step, pitch].
        sounding: The same shape.
        settings: The manifest's music settings.

    Returns:
        For each track the notes, int64 [note, 4]: start step, end step, pitch as MIDI number, velocity; by start, then
        pitch. Steps are counted from the first bar's.
    """
    bars, tracks, steps, pitches = begins.shape
    min_steps = np.array([1 if track.drums else max(track.min_note_steps, 1) for track in settings.tracks])
    velocity = np.array([(track.off_beat_velocity, track.velocity) for track in settings.tracks])
    is_drums = np.array([track.drums for track in settings.tracks])
    # One line a track and pitch, in time: what ends a note stands behind it.
    lines = np.ascontiguousarray(begins.transpose(1, 3, 0, 2)).reshape(tracks * pitches, bars * steps)
    line, start = np.nonzero(lines)
    track = line // pitches
    next_onset = np.full(len(line), bars * steps)
    follows = line[1:] == line[:-1]
    next_onset[:-1][follows] = start[1:][follows]
    end = np.minimum(_ends(sounding, line, start), next_onset)
    end = np.where(is_drums[track], start + 1, np.maximum(end, np.minimum(start + min_steps[track], next_onset)))
    beat_steps = max(steps // settings.beats_per_bar, 1)
    is_on_beat = start % steps % beat_steps == 0
    columns = (start, end, line % pitches + settings.lowest_pitch, velocity[track, is_on_beat.astype(np.int64)])
    notes = np.column_stack(columns).astype(np.int64)[np.lexsort((line, start, track))]
    return np.split(notes, np.searchsorted(np.sort(track), np.arange(1, tracks)))


def _nearest_steps(ticks: Integers, bars: Bars, grid: Grid, step_ticks: float) -> tuple[Integers, Floats, Flags]:
    """Returns for each tick the nearest step from the beginning, the distance in steps, and if its bar is whole."""
    last = len(bars.whole) - 1
    bar = _bar_of(ticks, bars)
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


def _bar_of(ticks: Integers, bars: Bars) -> Integers:
    return np.clip(np.searchsorted(bars.starts, ticks, side="right") - 1, 0, len(bars.whole) - 1)


def _fold(pitch: Integers, grid: Grid, is_drums: Flags) -> tuple[Integers, Flags]:
    """Returns the rows of the pitches, moved by octaves into the grid; -1 where that cannot be; and which moved."""
    row = pitch - grid.lowest_pitch
    below = -(np.minimum(row, 0) // _OCTAVE)
    above = -(-np.maximum(row - (grid.pitches - 1), 0) // _OCTAVE)
    folded = row + _OCTAVE * (below - above)
    fits = (folded >= 0) & (folded < grid.pitches) & ~(is_drums & (folded != row))
    return np.where(fits, folded, -1), folded != row


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
    tempo_bpm = US_PER_MINUTE / song.tempos[np.maximum(change, 0), 1]
    return np.where(change < 0, DEFAULT_TEMPO_BPM, tempo_bpm).astype(np.float32)


def _fit(error: Floats, folded: Flags) -> Fit:
    if not len(error):
        return Fit(notes=0, folded_notes=0, mean_error_steps=0.0, on_grid_share=1.0)
    on_grid = np.mean(error <= _ON_GRID_STEPS)
    return Fit(len(error), int(np.count_nonzero(folded)), float(error.mean()), float(on_grid))


def _ends(sounding: Flags, line: Integers, start: Integers) -> Integers:
    """Returns for each note the first step after its start at which its pitch does not sound."""
    bars, tracks, steps, pitches = sounding.shape
    count = bars * steps
    lines = np.zeros((tracks * pitches, count + 1), dtype=bool)  # with a silent step behind each line
    lines[:, :count] = sounding.transpose(1, 3, 0, 2).reshape(tracks * pitches, count)
    silent = np.flatnonzero(~lines)
    first = silent[np.searchsorted(silent, line * (count + 1) + start + 1)]
    ends: Integers = first - line * (count + 1)
    return ends


def _keep_highest(values: NDArray[Any], begins: Flags, maximum: int) -> None:
    """Keeps the `maximum` notes of the highest values where more begin at one time. All [..., step, pitch]."""
    crowded = np.nonzero(np.count_nonzero(begins, axis=-1) > maximum)
    if not len(crowded[0]):
        return
    ranked = np.where(begins[crowded], -values[crowded].astype(np.float64), np.inf)
    best = np.argsort(ranked, axis=1, kind="stable")[:, :maximum]
    kept = np.zeros(ranked.shape, dtype=bool)
    np.put_along_axis(kept, best, values=True, axis=1)
    begins[crowded] = kept
