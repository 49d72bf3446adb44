"""Whether music was copied: bars that a training piece has too, in whatever key, and segments that are nearly so.

A bar is copied if its notes in all tracks together, onsets and holds, are those of a training bar of any style, with
all pitched tracks moved by one interval. Bars in which nothing begins or is held are left out. A run of bars is copied
if training has the same bars in a row, all moved by the same interval.

Near copies are looked for among the training segments of the same style: the Jaccard distance of onsets, with octaves
folded, to the nearest of them in the best of 12 keys.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muserve_export.families.music.measure.metrics import STANDARD, Flags, Floats, Integers, Layout, MusicPart, Segments

__all__ = ["Copies", "CopyDetector", "near_copy_rates", "nearest_distances"]

_OCTAVE = 12
_PITCHES, _MAX_STEPS, _MAX_TRACKS = 128, 1024, 32
_CHUNK = 512
_NEAR_PERCENT = 1


@dataclass(frozen=True)
class Copies:
    """What was found copied."""

    bars: Floats
    """Share of each segment's bars that are copied; NaN for a silent one, [segment]."""
    run: Floats
    """Bars of each segment's longest copied run, [segment]."""


class CopyDetector:
    """Knows all runs of bars of the training part, up to the length of a segment."""

    def __init__(self, training: MusicPart, bars: int, layout: Layout = STANDARD) -> None:
        """Remembers the training part.

        Args:
            training: What may have been copied.
            bars: Bars of a segment.
            layout: What the axes mean.
        """
        self._layout = layout
        self._bars = bars
        notes = _Notes(training.onset, training.hold, layout)
        places = {(first, length) for start in training.starts.tolist() for first, length in _runs(start, bars)}
        self._known = {digest for place in places if (digest := notes.digest(*place))}

    def find(self, segments: Segments) -> Copies:
        """Looks for copies in segments of at most as many bars."""
        count, bars = segments.onset.shape[:2]
        onset, hold = (rolls.reshape(count * bars, *rolls.shape[2:]) for rolls in (segments.onset, segments.hold))
        notes = _Notes(onset, hold, self._layout)
        share, run = np.full(count, np.nan), np.zeros(count)
        for index in range(count):
            single = []
            for first, length in _runs(index * bars, bars):
                digest = notes.digest(first, length)
                copied = digest is not None and digest in self._known
                if length == 1 and digest is not None:
                    single.append(copied)
                if copied:
                    run[index] = max(run[index], length)
            if single:
                share[index] = np.mean(single)
        return Copies(share, run)


def nearest_distances(segments: Segments, training: MusicPart, layout: Layout = STANDARD) -> Floats:
    """Returns the distance of each segment to the nearest training segment of its style, 0 … 1; NaN for silent ones."""
    found = np.full(len(segments), np.nan)
    for style in np.unique(segments.style):
        own = np.flatnonzero(segments.style == style)
        known = np.flatnonzero(training.style == style)
        if not len(known):
            continue
        pitched, drums = _folded(segments.onset[own], layout)
        size = (pitched.sum(axis=(1, 2)) + drums.sum(axis=1))[:, None]
        best = np.full(len(own), np.inf)
        for start in range(0, len(known), _CHUNK):
            theirs, their_drums = _folded(training.rolls(known[start : start + _CHUNK])[0], layout)
            their_size = theirs.sum(axis=(1, 2)) + their_drums.sum(axis=1)
            together = _best_key(pitched, theirs) + drums @ their_drums.T
            distance = 1 - together / np.maximum(size + their_size - together, 1)
            best = np.minimum(best, distance.min(axis=1))
        found[own] = np.where(size[:, 0] > 0, best, np.nan)
    return found


def near_copy_rates(
    generated: Floats, held_out: Floats, style: Integers, held_out_style: Integers
) -> tuple[float, float]:
    """Returns the shares of generated and of held-out segments that are near copies, means over styles.

    A near copy is at most as far from training as the nearest hundredth of the style's held-out segments is. Where
    several of these are equally near, more than a hundredth of them count.

    Args:
        generated: Distances, see `nearest_distances`.
        held_out: Distances.
        style: Of the generated segments.
        held_out_style: Of the held-out segments.
    """
    shares = []
    for number in np.intersect1d(style, held_out_style):
        ours, theirs = generated[style == number], held_out[held_out_style == number]
        ours, theirs = ours[~np.isnan(ours)], theirs[~np.isnan(theirs)]
        if len(theirs):
            limit = np.percentile(theirs, _NEAR_PERCENT, method="higher")
            shares.append((float(np.mean(ours <= limit)) if len(ours) else 0.0, float(np.mean(theirs <= limit))))
    return tuple(np.mean(shares, axis=0).tolist()) if shares else (np.nan, np.nan)


def _runs(start: int, bars: int) -> Iterator[tuple[int, int]]:
    """Yields first bar and length of each run in a segment."""
    for first in range(bars):
        for length in range(1, bars - first + 1):
            yield start + first, length


class _Notes:
    """The notes of bars, each a number, with the pitch apart."""

    def __init__(self, onset: Flags, hold: Flags, layout: Layout) -> None:
        pitched = np.array([role != "drums" for role in layout.roles])
        parts = []
        for kind, rolls in enumerate((onset, hold)):
            bar, track, step, pitch = np.nonzero(rolls)
            place = ((kind * _MAX_TRACKS + track) * _MAX_STEPS + step) * _PITCHES
            parts.append(np.stack([bar, place, pitch, pitched[track]]))
        notes = np.concatenate(parts, axis=1)
        self._bar, self._place, self._pitch, self._pitched = notes[:, np.argsort(notes[0], kind="stable")]
        self._edges = np.searchsorted(self._bar, np.arange(len(onset) + 1))

    def digest(self, first: int, length: int) -> bytes | None:
        """Returns the same for the same bars in whatever key; None if one of them is silent."""
        edges = self._edges[first : first + length + 1]
        if (np.diff(edges) == 0).any():
            return None
        notes = slice(edges[0], edges[-1])
        pitch, pitched = self._pitch[notes], self._pitched[notes].astype(bool)
        lowest = pitch[pitched].min(initial=_PITCHES)
        bar = (self._bar[notes] - first) * 2 * _MAX_TRACKS * _MAX_STEPS * _PITCHES
        code = np.sort(bar + self._place[notes] + np.where(pitched, pitch - lowest, pitch))
        return code.astype(np.int64).tobytes()


def _folded(onset: Flags, layout: Layout) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Returns onsets as 0 and 1: [segment, place, pitch class] of pitched tracks, [segment, place] of drums."""
    segments, bars, _, steps, pitches = onset.shape
    pitched = onset[:, :, list(layout.pitched)]
    classes = (np.arange(pitches) + layout.lowest_pitch) % _OCTAVE
    chroma = np.stack([pitched[..., classes == number].any(axis=-1) for number in range(_OCTAVE)], axis=-1)
    drums = onset[:, :, [] if layout.drums is None else [layout.drums]]
    return (
        chroma.reshape(segments, bars * len(layout.pitched) * steps, _OCTAVE).astype(np.float32),
        drums.reshape(segments, bars * drums.shape[2] * steps * pitches).astype(np.float32),
    )


def _best_key(ours: NDArray[np.float32], theirs: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns how many notes fall together in the best of 12 keys, [ours, theirs]."""
    flat = theirs.reshape(len(theirs), -1).T
    best = np.zeros((len(ours), len(theirs)), np.float32)
    for key in range(_OCTAVE):
        np.maximum(best, np.roll(ours, key, axis=2).reshape(len(ours), -1) @ flat, out=best)
    return best
