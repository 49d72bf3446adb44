"""Small pieces of music as arrays, for the tests of what measures music."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muserve_export.families.music.measure.metrics import Segments

DRUMS, KEYS, GUITAR, BASS, STRINGS = range(5)
STEPS, PITCHES, LOWEST = 16, 84, 24
Note = tuple[int, int, int, int]
"""Track, start in steps from the beginning, length in steps, MIDI pitch."""


def roll(notes: Iterable[Note], bars: int = 4) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Puts notes on the grid: onset and hold [bar, track, step, pitch]."""
    onset, hold = (np.zeros((5, bars * STEPS, PITCHES), bool) for _ in range(2))
    for track, start, length, pitch in notes:
        onset[track, start, pitch - LOWEST] = True
        hold[track, start + 1 : start + length, pitch - LOWEST] = True
    return (
        onset.reshape(5, bars, STEPS, PITCHES).swapaxes(0, 1),
        hold.reshape(5, bars, STEPS, PITCHES).swapaxes(0, 1),
    )


def segments(
    scores: Iterable[Iterable[Note]],
    style: Iterable[int] | None = None,
    piece: Iterable[int] | None = None,
    tempo_bpm: Iterable[float] | None = None,
    bars: int = 4,
) -> Segments:
    """A segment a score: by default of style 0, each its own piece."""
    rolls = [roll(score, bars) for score in scores]
    count = len(rolls)
    return Segments(
        np.stack([onset for onset, _ in rolls]),
        np.stack([hold for _, hold in rolls]),
        np.array(list(style) if style is not None else [0] * count),
        np.array(list(piece) if piece is not None else range(count)),
        np.array(list(tempo_bpm) if tempo_bpm is not None else [120.0] * count, np.float32),
    )


def song(key: int, random: np.random.Generator, style: int = 0) -> list[Note]:
    """Four bars in which all tracks play the chords of one key; styles differ in what the strings and drums do."""
    notes: list[Note] = []
    for bar in range(4):
        root = (key + int(random.choice([0, 5, 7]))) % 12
        at = bar * STEPS
        notes += [(DRUMS, at + step, 1, 36) for step in range(0, STEPS, 4 if style == 0 else 2)]
        notes += [(BASS, at + step, 4, 36 + root) for step in range(0, STEPS, 4)]
        notes += [(KEYS, at + 8 * half, 4, 60 + (root + third) % 12) for half in (0, 1) for third in (0, 4, 7)]
        notes += [(GUITAR, at + 4 + 8 * half, 2, 60 + (root + third) % 12) for half in (0, 1) for third in (0, 4, 7)]
        length = 16 if style == 0 else 2
        notes += [(STRINGS, at + start, length, 72 + root) for start in range(0, STEPS, length)]
    return notes


def songs(count: int, *, styles: int = 1, seed: int = 0) -> Segments:
    """As many pieces of each style, each in a key by chance."""
    random = np.random.default_rng(seed)
    style = np.repeat(np.arange(styles), count)
    return segments([song(int(random.integers(12)), random, kind) for kind in style.tolist()], style)


@dataclass(frozen=True)
class Part:
    """Segments as a part of the data, bar by bar."""

    onset: NDArray[np.bool_]
    hold: NDArray[np.bool_]
    starts: NDArray[np.int64]
    style: NDArray[np.int64]
    piece: NDArray[np.int64]
    tempo_bpm: NDArray[np.float32]

    def rolls(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        bars = self.starts[indices][:, None] + np.arange(4)
        return self.onset[bars], self.hold[bars]


def part(music: Segments) -> Part:
    onset, hold = (rolls.reshape(-1, *rolls.shape[2:]) for rolls in (music.onset, music.hold))
    return Part(onset, hold, np.arange(len(music)) * 4, music.style, music.piece, music.tempo_bpm)
