"""A model's grid, and where the bars of a song are. Pure functions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_server.tasks.music.song import MidiError, Song

__all__ = ["MAX_BARS", "Bars", "Grid", "lay_bars"]

MAX_BARS = 8192
"""Most bars of a song, unless the caller says otherwise."""

Flags = NDArray[np.bool_]
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

    def step_ticks(self, ticks_per_beat: int) -> float:
        """Returns the ticks of a step, at a number of ticks a quarter note."""
        return self.bar_ticks(ticks_per_beat) / self.steps_per_bar


@dataclass(frozen=True)
class Bars:
    """Where a song's bars are."""

    starts: Floats
    """[bar + 1], in ticks; the last is the end. Exact: note values are powers of two."""
    whole: Flags
    """[bar]: whether the bar is entirely in the grid's metre."""

    def ends_of(self, steps_per_bar: int) -> NDArray[np.int64]:
        """Returns for each step where a note in it must end: at the next bar that is not whole, or the song's end."""
        count = len(self.whole)
        bar = np.where(self.whole, count, np.arange(count))
        return np.repeat(np.minimum.accumulate(bar[::-1])[::-1] * steps_per_bar, steps_per_bar)


def lay_bars(song: Song, grid: Grid, *, max_bars: int = MAX_BARS) -> Bars:
    """Lays out a song's bars by its time signatures, from its beginning to its last note.

    A signature that begins inside a bar ends that bar. Bars count as the grid's only where their signature is the
    grid's: two bars of 2/4 are not one of 4/4.

    Raises:
        MidiError: There are more than `max_bars`.
    """
    step_ticks = grid.step_ticks(song.ticks_per_beat)
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
