"""How density goes with tempo: whether fast pieces have more or fewer onsets a bar than slow ones of the same style."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muserve_export.families.music.measure.distances import DRAWS, Interval, interval, resample
from muserve_export.families.music.measure.metrics import Floats, Segments

__all__ = ["TempoResponse", "onsets_per_bar", "tempo_response"]

_STEP_BPM = 10


@dataclass(frozen=True)
class TempoResponse:
    """What a faster tempo goes with, within styles."""

    slope: Interval
    """Onsets a bar more for 10 bpm more, by least squares with a mean of its own for each style."""
    correlation: Interval
    """Of the ranks of tempo and onsets within each style, all styles pooled: -1 … 1."""


def onsets_per_bar(segments: Segments) -> Floats:
    """Returns how many notes of all tracks begin in a bar, mean over the bars, [segment]."""
    return np.asarray(segments.onset.sum(axis=(1, 2, 3, 4)) / segments.onset.shape[1], np.float64)


def tempo_response(segments: Segments, *, draws: int = DRAWS, seed: int = 0) -> TempoResponse:
    """Measures the segments whose tempo is known; NaN where no style has two tempi."""
    segments = segments.take(np.flatnonzero(segments.tempo_bpm > 0))
    tempo, onsets = segments.tempo_bpm.astype(np.float64), onsets_per_bar(segments)
    weights = np.concatenate([
        np.ones((1, len(segments))), resample(segments.style, segments.piece, draws, seed)
    ])  # fmt: skip
    moments = np.zeros((3, draws + 1))
    rank_moments = np.zeros((3, draws + 1))
    for style in np.unique(segments.style):
        own = np.flatnonzero(segments.style == style)
        moments += _moments(weights[:, own], tempo[own], onsets[own])
        rank_moments += _moments(weights[:, own], _ranks(tempo[own]), _ranks(onsets[own]))
    slope = _STEP_BPM * _divide(moments[1], moments[0])
    correlation = _divide(rank_moments[1], np.sqrt(np.maximum(rank_moments[0] * rank_moments[2], 0)))
    return TempoResponse(interval(float(slope[0]), slope[1:]), interval(float(correlation[0]), correlation[1:]))


def _moments(weights: Floats, tempo: Floats, onsets: Floats) -> Floats:
    """Returns sums of squares and products around the style's own means, [(tempo², tempo·onsets, onsets²), draw]."""
    total = np.maximum(weights.sum(axis=1), 1e-9)
    sums = [weights @ values for values in (tempo, onsets, tempo**2, tempo * onsets, onsets**2)]
    return np.stack(
        [sums[2] - sums[0] ** 2 / total, sums[3] - sums[0] * sums[1] / total, sums[4] - sums[1] ** 2 / total]
    )


def _ranks(values: Floats) -> Floats:
    """Returns ranks between 0 and 1; equal values share the mean of theirs."""
    _, index, counts = np.unique(values, return_inverse=True, return_counts=True)
    rank: Floats = (np.cumsum(counts) - (counts - 1) / 2) / len(values)
    return rank[index]


def _divide(top: Floats, bottom: Floats) -> Floats:
    found: Floats = np.divide(top, bottom, out=np.full(top.shape, np.nan), where=bottom > 1e-6)
    return found
