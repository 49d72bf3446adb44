"""Whether tracks refer to each other as in real music, by tonal distance, and tests on pairs of figures."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from muserve_export.families.music.measure.distances import (
    DRAWS,
    Interval,
    PieceSums,
    interval,
    measure_pieces,
    mix_tracks,
    resample,
    shuffle_tracks,
)
from muserve_export.families.music.measure.metrics import STANDARD, Floats, Integers, Layout, Segments

__all__ = ["TonalGap", "paired_p", "tonal_gap"]

_SHUFFLES = 8
_FLIPS = 9999


@dataclass(frozen=True)
class TonalGap:
    """Tonal distance of generated and of shuffled tracks, against real ones."""

    generated: Interval
    """|TD − real TD|, mean over the pairs of tracks."""
    shuffled: Interval
    """The same of real tracks that were shuffled."""
    p: float
    """Chance that the generated music's gap is not the smaller one, by bootstrap over the pieces of both."""


def tonal_gap(
    generated: PieceSums, held_out: Segments, convention: str, *, layout: Layout = STANDARD, draws: int = DRAWS
) -> TonalGap:
    """Tests |TD − real TD| < |TD of shuffled tracks − real TD|.

    TD of a pair of tracks is the mean over styles. Real music is shuffled eight times; each draw takes one of these.

    Args:
        generated: What was measured of the model's music.
        held_out: Real music.
        convention: One of `metrics.CONVENTIONS`.
        layout: What the axes mean.
        draws: Bootstrap draws.
    """
    styles = np.intersect1d(np.unique(generated.style), np.unique(held_out.style)).tolist()
    real = measure_pieces(held_out, layout)[convention]
    chosen = [index for index, cell in enumerate(real.cells) if cell.metric == "TD"]
    shuffles = [
        measure_pieces(
            mix_tracks(
                held_out, shuffle_tracks(held_out.style, held_out.piece, held_out.onset.shape[2], seed=1000 + index)
            ),
            layout,
        )[convention]
        for index in range(_SHUFFLES)
    ]

    def pairs(sums: PieceSums, weights: Floats) -> Floats:
        """TD of each pair in each draw, [draw, pair]; NaN where a pair never sounds."""
        values: Floats = sums.means(styles, weights)[:, :, chosen]
        known = ~np.isnan(values)
        count = known.sum(axis=1)
        total = np.where(known, values, 0).sum(axis=1)
        means: Floats = np.divide(total, count, out=np.full(total.shape, np.nan), where=count > 0)
        return means

    ones = (np.ones((1, len(sums.style))) for sums in (generated, real, shuffles[0]))
    our_weights, real_weights, shuffled_weights = ones
    truth = pairs(real, real_weights)
    ours = _gap(pairs(generated, our_weights), truth)[0]
    theirs = float(np.mean([_gap(pairs(sums, shuffled_weights), truth)[0] for sums in shuffles]))
    real_weights = resample(real.style, real.piece, draws, 1)
    truth = pairs(real, real_weights)
    our_draws = _gap(pairs(generated, resample(generated.style, generated.piece, draws, 2)), truth)
    parts = np.array_split(np.arange(draws), _SHUFFLES)
    their_draws = np.concatenate(
        [_gap(pairs(sums, real_weights[part]), truth[part]) for sums, part in zip(shuffles, parts, strict=True)]
    )
    p = (1 + np.count_nonzero(~(our_draws < their_draws))) / (1 + draws)
    return TonalGap(interval(ours, our_draws), interval(theirs, their_draws), float(p))


def paired_p(difference: Floats, piece: Integers, *, seed: int = 0) -> float:
    """Tests whether the mean of paired differences is above 0, by flipping signs of whole pieces.

    Args:
        difference: [pair]; NaN are left out.
        piece: Piece of each pair: pairs of one piece flip together.
        seed: Of the flips.

    Returns:
        Share of 9,999 random sign patterns, and the real one, whose mean is at least as high; NaN without pairs.
    """
    known = ~np.isnan(difference)
    if not known.any():
        return np.nan
    _, index = np.unique(piece[known], return_inverse=True)
    sums = np.bincount(index, difference[known])
    signs = np.random.default_rng(seed).choice([-1.0, 1.0], size=(_FLIPS, len(sums)))
    return float((1 + np.count_nonzero(signs @ sums >= sums.sum())) / (1 + _FLIPS))


def _gap(values: Floats, truth: Floats) -> Floats:
    """Returns the mean over pairs of |difference|, [draw]; infinite where a real pair is silent in the other."""
    difference = np.where(np.isnan(values) & ~np.isnan(truth), np.inf, np.abs(values - truth))
    known = ~np.isnan(difference)
    total, count = np.where(known, difference, 0).sum(axis=1), known.sum(axis=1)
    return np.asarray(np.divide(total, count, out=np.full(len(total), np.nan), where=count > 0), np.float64)
