"""MuseGAN's figures of piano rolls, in two conventions side by side.

The figures are those of Dong et al., "MuseGAN" (AAAI 2018), section 5: empty bars (EB, %), used pitch classes (UPC),
qualified notes (QN, %), drum patterns (DP, %) and tonal distance (TD).

`corrected` says what the paper says:
- EB: bars of a track in which nothing sounds, also no note held from before.
- UPC: distinct pitch classes (pitch modulo 12) that sound in a bar; mean over the bars that are not empty.
- QN: notes of at least two steps: an 1/8 note where a bar has 16. (The paper's 3 of 96 steps are 1/32: on this grid all
  notes last that long.) Notes are as played: repeats apart, across bar lines. Those that begin on a segment's last step
  are left out, since nobody knows how long they last.
- DP: share of drum hits on the eighths; hits between count a tenth (MusPy's mask for four steps a beat).
- TD: Harte et al., "Detecting harmonic change in musical audio" (2006): distance of two tracks' tonal centroids of a
  beat; mean over the beats in which both sound.

`paper` does what the authors' code does (salu133445/musegan, v1/musegan/eval/metrics.py), on this grid:
- its chroma are 12 groups of seven neighbouring semitones, not pitch classes; UPC and TD are made of these.
- each bar is looked at alone: a note that sounds in two bars is two notes; a repeat without a gap is none.
- QN and DP are means over the bars' own shares. TD of a bar counts only if both tracks sound in each of its beats.
- DP takes the better of two masks, on the eighths and between them, with a tolerance of 0.3. (The code's mask has six
  places for each 1/16 of its 96 steps. On 16 steps that one lets everything pass, so the mask is that of the eighths.)
- EB is the same as in `corrected`. (Version 3 of the code returns the share of bars that are *not* empty.)
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CONVENTIONS",
    "STANDARD",
    "Cell",
    "Flags",
    "Floats",
    "Integers",
    "Layout",
    "MusicPart",
    "Segments",
    "Tally",
    "centroids",
    "measure",
    "sounding",
]

CONVENTIONS = ("corrected", "paper")
TONAL_RADII = (1.0, 1.0, 0.5)
_CHUNK = 128
_OCTAVE = 12
_TOLERANCE, _PAPER_TOLERANCE = 0.1, 0.3

Flags = NDArray[np.bool_]
Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@dataclass(frozen=True)
class Layout:
    """What the axes of a roll mean."""

    roles: tuple[str, ...] = ("drums", "keys", "guitar", "bass", "strings")
    """Of the tracks, in order. "drums" has no pitches."""
    lowest_pitch: int = 24
    """MIDI number of the first pitch."""
    beats_per_bar: int = 4

    @property
    def pitched(self) -> tuple[int, ...]:
        """Indices of the tracks with pitches."""
        return tuple(index for index, role in enumerate(self.roles) if role != "drums")

    @property
    def drums(self) -> int | None:
        """Index of the drums."""
        return self.roles.index("drums") if "drums" in self.roles else None

    @property
    def pairs(self) -> tuple[tuple[int, int], ...]:
        """Pairs of tracks with pitches."""
        return tuple(combinations(self.pitched, 2))


STANDARD = Layout()


class MusicPart(Protocol):
    """A part of the data, as far as it is measured; see `data.MusicSet`."""

    @property
    def onset(self) -> Flags:
        """[bar, track, step, pitch]."""

    @property
    def hold(self) -> Flags:
        """[bar, track, step, pitch]."""

    @property
    def starts(self) -> Integers:
        """First bar of each segment."""

    @property
    def style(self) -> Integers:
        """[segment]."""

    @property
    def piece(self) -> Integers:
        """[segment]."""

    @property
    def tempo_bpm(self) -> NDArray[np.float32]:
        """[segment]; 0 where unknown."""

    def rolls(self, indices: Any) -> tuple[Flags, Flags]:
        """Returns onset and hold of some segments, [segment, bar, track, step, pitch]."""


@dataclass(frozen=True)
class Segments:
    """Some segments of music: real, generated, or of shuffled tracks."""

    onset: Flags
    """[segment, bar, track, step, pitch]: a note begins."""
    hold: Flags
    """The same shape: a note that began before still sounds. Holds without a note before them are nothing."""
    style: Integers
    """[segment]."""
    piece: Integers
    """[segment]: segments of one piece resemble each other, so that intervals are by piece."""
    tempo_bpm: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    """[segment]; 0 where unknown. Empty if nobody asks."""

    def __len__(self) -> int:
        return len(self.style)

    def take(self, indices: NDArray[Any]) -> Segments:
        """Returns some of them."""
        tempo_bpm = self.tempo_bpm[indices] if len(self.tempo_bpm) else self.tempo_bpm
        return Segments(self.onset[indices], self.hold[indices], self.style[indices], self.piece[indices], tempo_bpm)

    @classmethod
    def draw(cls, part: MusicPart, most_per_style: int, *, seed: int = 0) -> Segments:
        """Draws segments of a part, at most so many a style, each as likely as the other."""
        random = np.random.default_rng(seed)
        chosen = [
            np.sort(random.permutation(np.flatnonzero(part.style == style))[:most_per_style])
            for style in np.unique(part.style)
        ]
        indices = np.concatenate([np.empty(0, np.int64), *chosen])
        return cls(*part.rolls(indices), part.style[indices], part.piece[indices], part.tempo_bpm[indices])


@dataclass(frozen=True)
class Cell:
    """One figure of one track or pair of tracks."""

    metric: str
    """EB, UPC, QN, DP or TD."""
    tracks: str
    """Role, or two roles with a dash between."""


@dataclass(frozen=True)
class Tally:
    """What the figures are means of: any mean is a sum of tops over a sum of bottoms."""

    cells: tuple[Cell, ...]
    top: Floats
    """[segment, cell]."""
    bottom: Floats
    """[segment, cell]."""


def measure(onset: Flags, hold: Flags, layout: Layout = STANDARD) -> Mapping[str, Tally]:
    """Measures segments in both conventions.

    Args:
        onset: [segment, bar, track, step, pitch].
        hold: The same shape.
        layout: What the axes mean.

    Returns:
        Convention to tally, with the same cells.
    """
    cells = _cells(layout)
    sums: dict[str, list[Floats]] = {name: [] for name in CONVENTIONS}
    for start in range(0, len(onset), _CHUNK):
        part = onset[start : start + _CHUNK]
        for name, found in _measure_chunk(part, sounding(part, hold[start : start + _CHUNK]), layout).items():
            sums[name].append(found)
    empty = np.empty((0, len(cells), 2))
    joined = {name: np.concatenate([empty, *found]) for name, found in sums.items()}
    return {name: Tally(cells, found[..., 0], found[..., 1]) for name, found in joined.items()}


def sounding(onset: Flags, hold: Flags) -> Flags:
    """Returns where notes sound: from their onset on, as long as holds follow without a gap. Shapes as in `measure`."""
    sounds = onset.copy()
    bars, steps = onset.shape[1], onset.shape[3]
    for bar in range(bars):
        for step in range(steps):
            if bar or step:
                before = sounds[:, bar, :, step - 1] if step else sounds[:, bar - 1, :, -1]
                sounds[:, bar, :, step] |= hold[:, bar, :, step] & before
    return sounds


def centroids(sounds: Flags, layout: Layout = STANDARD, *, paper: bool = False) -> Floats:
    """Returns the tonal centroids of the pitched tracks' beats, [segment, bar, track, beat, 6]; NaN in silence."""
    return _centroids(_chroma(sounds, layout, paper=paper))


def _cells(layout: Layout) -> tuple[Cell, ...]:
    names: list[tuple[str, Sequence[str]]] = [("EB", layout.roles)]
    pitched = [layout.roles[index] for index in layout.pitched]
    names += [("UPC", pitched), ("QN", pitched), ("DP", ["drums"] if layout.drums is not None else [])]
    names += [("TD", [f"{layout.roles[one]}-{layout.roles[other]}" for one, other in layout.pairs])]
    return tuple(Cell(metric, tracks) for metric, group in names for tracks in group)


def _measure_chunk(onset: Flags, sounds: Flags, layout: Layout) -> Mapping[str, Floats]:
    """Returns for each convention tops and bottoms, [segment, cell, 2], in the order of `_cells`."""
    pitched = list(layout.pitched)
    empty: Flags = ~np.asarray(sounds.any(axis=(3, 4)))  # [segment, bar, track]
    first = np.diff(sounds, axis=3, prepend=np.bool_(0)) & sounds  # what the paper's code takes for onsets
    found: dict[str, list[Floats]] = {}
    for name in CONVENTIONS:
        paper = name == "paper"
        chroma = _chroma(sounds, layout, paper=paper)
        used = (chroma.sum(axis=3) > 0).sum(axis=-1, dtype=np.float64)  # [segment, bar, track]
        parts = [_sums(100.0 * empty, np.ones(empty.shape)), _sums(used, ~empty[:, :, pitched])]
        if paper:
            parts.append(_shares(*_bar_note_lengths(first[:, :, pitched], sounds[:, :, pitched])))
        else:
            parts.append(_sums(*_note_lengths(onset[:, :, pitched], sounds[:, :, pitched])))
        if layout.drums is not None:
            hits = (first if paper else onset)[:, :, layout.drums].sum(axis=-1, dtype=np.float64)[:, :, None]
            parts.append(_paper_pattern(hits, layout) if paper else _pattern(hits, layout))
        parts.append(_tonal_distances(_centroids(chroma), layout, paper=paper))
        found[name] = parts
    return {name: np.concatenate(parts, axis=1) for name, parts in found.items()}


def _sums(top: NDArray[Any], bottom: NDArray[Any]) -> Floats:
    """Adds up over bars: [segment, bar, cell] to [segment, cell, 2]."""
    return np.stack([top.sum(axis=1, dtype=np.float64), bottom.sum(axis=1, dtype=np.float64)], axis=-1)


def _shares(top: Floats, bottom: Floats) -> Floats:
    """The same where each bar with any counts once, with its own share."""
    return _sums(np.divide(top, bottom, out=np.zeros(top.shape), where=bottom > 0), bottom > 0)


def _note_lengths(onset: Flags, sounds: Flags) -> tuple[Floats, Floats]:
    """Returns 100 × notes of two steps or more, and notes: [segment, bar, track]."""
    goes_on = sounds & ~onset
    long = (onset[:, :, :, :-1] & goes_on[:, :, :, 1:]).sum(axis=(3, 4), dtype=np.float64)
    notes = onset.sum(axis=(3, 4), dtype=np.float64)
    long[:, :-1] += (onset[:, :-1, :, -1] & goes_on[:, 1:, :, 0]).sum(axis=-1)
    notes[:, -1] -= onset[:, -1, :, -1].sum(axis=-1)
    return 100.0 * long, notes


def _bar_note_lengths(first: Flags, sounds: Flags) -> tuple[Floats, Floats]:
    long = (first[:, :, :, :-1] & sounds[:, :, :, 1:]).sum(axis=(3, 4), dtype=np.float64)
    return 100.0 * long, first.sum(axis=(3, 4), dtype=np.float64)


def _eighths(steps: int, layout: Layout) -> Flags:
    """Returns which steps of a bar are eighths."""
    half_beat = max(1, steps // layout.beats_per_bar // 2)
    found: Flags = np.arange(steps) % half_beat == 0
    return found


def _pattern(hits: Floats, layout: Layout) -> Floats:
    """DP of hits [segment, bar, 1, step]."""
    mask = np.where(_eighths(hits.shape[-1], layout), 1.0, _TOLERANCE)
    return _sums(100.0 * hits @ mask, hits.sum(axis=-1))


def _paper_pattern(hits: Floats, layout: Layout) -> Floats:
    mask = np.where(_eighths(hits.shape[-1], layout), 1.0, _PAPER_TOLERANCE)
    score = np.maximum(hits @ mask, hits @ np.roll(mask, 1))
    return _shares(100.0 * score, hits.sum(axis=-1))


def _chroma(sounds: Flags, layout: Layout, *, paper: bool) -> NDArray[np.float32]:
    """Returns how many steps each chroma sounds in each beat, [segment, bar, pitched track, beat, 12]."""
    segments, bars, _, steps, pitches = sounds.shape
    pitched = sounds[:, :, list(layout.pitched)]
    beats = layout.beats_per_bar
    by_beat = pitched.reshape(segments, bars, -1, beats, steps // beats, pitches).sum(axis=4, dtype=np.uint8)
    if paper:
        chroma = np.minimum(np.arange(pitches) // -(-pitches // _OCTAVE), _OCTAVE - 1)
    else:
        chroma = (np.arange(pitches) + layout.lowest_pitch) % _OCTAVE
    found: NDArray[np.float32] = by_beat.astype(np.float32) @ np.eye(_OCTAVE, dtype=np.float32)[chroma]
    return found


def _centroids(chroma: NDArray[np.float32]) -> Floats:
    total = chroma.sum(axis=-1, keepdims=True, dtype=np.float64)
    share = np.divide(chroma, total, out=np.full(chroma.shape, np.nan), where=total > 0)
    found: Floats = share @ _tonal_matrix().T
    return found


def _tonal_matrix() -> Floats:
    """Returns the circles of fifths, minor thirds and major thirds, [6, 12]."""
    angles = np.outer([7 / 6, 3 / 2, 2 / 3], np.arange(_OCTAVE)) * np.pi
    radii = np.array(TONAL_RADII)[:, None]
    return np.stack([radii * np.sin(angles), radii * np.cos(angles)], axis=1).reshape(6, _OCTAVE)


def _tonal_distances(centroid: Floats, layout: Layout, *, paper: bool) -> Floats:
    """TD of centroids [segment, bar, pitched track, beat, 6]."""
    place = {track: index for index, track in enumerate(layout.pitched)}
    pairs = [
        np.linalg.norm(centroid[:, :, place[one]] - centroid[:, :, place[other]], axis=-1)
        for one, other in layout.pairs
    ]
    if not pairs:
        return np.empty((len(centroid), 0, 2))
    distance = np.stack(pairs, axis=2)  # [segment, bar, pair, beat]
    if paper:
        bar = distance.mean(axis=-1)
        return _sums(np.nan_to_num(bar), ~np.isnan(bar))
    return _sums(np.nansum(distance, axis=-1), (~np.isnan(distance)).sum(axis=-1))
