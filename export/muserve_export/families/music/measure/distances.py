"""How far music is from held-out music: distances in units of how much real pieces differ, and bootstrap intervals.

A cell is one figure of one track (or pair of tracks) in one style. Its distance is

    |figure − held-out figure| / spread,

where the spread is the standard deviation of the cell's figure between real pieces: of training and held-out pieces,
each around its own part's mean. A spread below what a listener would call a difference (`_MIN_SPREAD`) counts as
that: in rendered styles some tracks do the same in every piece. A distance of 1 is as far as a real piece is from the
mean.

A cell is measured if at least two held-out and two training pieces have it, and a tenth of the held-out segments in
that style. A model that is silent in such a cell is infinitely far.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muserve_export.families.music.measure.metrics import (
    CONVENTIONS,
    STANDARD,
    Cell,
    Floats,
    Integers,
    Layout,
    Segments,
    Tally,
    measure,
)

__all__ = [
    "DRAWS",
    "Comparison",
    "Interval",
    "PieceSums",
    "by_style",
    "compare",
    "interval",
    "measure_pieces",
    "mix_tracks",
    "resample",
    "shuffle_tracks",
    "style_mean",
]

DRAWS = 1000
_MIN_SPREAD = {"EB": 5.0, "QN": 5.0, "DP": 5.0, "UPC": 0.25, "TD": 0.05}
_MIN_PIECES, _MIN_SHARE = 2, 0.1
_MIN_DISTANCE = 0.1


@dataclass(frozen=True)
class Interval:
    """A figure with its 95 % interval."""

    value: float
    low: float
    high: float

    def __str__(self) -> str:
        return f"{self.value:.3g} ({self.low:.3g} … {self.high:.3g})"


@dataclass(frozen=True)
class PieceSums:
    """A tally added up by style and piece: what is drawn again in a bootstrap."""

    cells: tuple[Cell, ...]
    style: Integers
    """[row]."""
    piece: Integers
    """[row]; one piece may have rows in several styles."""
    top: Floats
    """[row, cell]."""
    bottom: Floats
    """[row, cell]."""
    support: Floats
    """Segments of the row that have the cell at all, [row, cell]."""
    segments: Floats
    """All segments of the row, [row]."""

    @classmethod
    def of(cls, tally: Tally, segments: Segments) -> PieceSums:
        """Adds up."""
        keys = np.stack([segments.style, segments.piece], axis=1)
        rows, row = np.unique(keys, axis=0, return_inverse=True)
        belongs = (row.ravel() == np.arange(len(rows))[:, None]).astype(np.float64)  # [row, segment]
        return cls(
            cells=tally.cells,
            style=rows[:, 0],
            piece=rows[:, 1],
            top=belongs @ tally.top,
            bottom=belongs @ tally.bottom,
            support=belongs @ (tally.bottom > 0),
            segments=belongs.sum(axis=1),
        )

    def means(self, styles: Sequence[int], weights: Floats | None = None) -> Floats:
        """Returns the figures of styles, [style, cell], or with weights [draw, row] of each draw; NaN where none."""
        chosen = np.ones((1, len(self.style))) if weights is None else weights
        found = np.full((len(chosen), len(styles), len(self.cells)), np.nan)
        for index, style in enumerate(styles):
            own = self.style == style
            top, bottom = chosen[:, own] @ self.top[own], chosen[:, own] @ self.bottom[own]
            np.divide(top, bottom, out=found[:, index], where=bottom > 0)
        return found if weights is not None else found[0]


@dataclass(frozen=True)
class Comparison:
    """Distances of generated music from held-out music, beside those of training music."""

    cells: tuple[tuple[int, Cell], ...]
    """Style and cell of each that is measured."""
    figures: Floats
    """[cell, 3]: generated, training, held-out."""
    bounds: Floats
    """95 % intervals of the figures, [cell, 3, 2]."""
    generated: Floats
    """Distances, [cell]."""
    training: Floats
    """Distances, [cell]."""
    ratios: Floats
    """See `compare`, [cell]."""
    median: Interval
    """Of the generated music's distances."""
    training_median: Interval
    worst: int
    """Index of the cell with the highest ratio."""
    worst_ratio: Interval
    """Its ratio."""
    surely_over: int
    """Cells whose ratio's interval lies above the limit."""


def interval(value: float, draws: Floats) -> Interval:
    """Returns a figure with the middle 95 % of its bootstrap draws."""
    known = draws[~np.isnan(draws)]
    if not len(known):
        return Interval(value, float("nan"), float("nan"))
    # Of infinite draws a percentile between two would be no number.
    low, high = np.percentile(known, [2.5, 97.5], method="nearest")
    return Interval(value, float(low), float(high))


def resample(style: Integers, piece: Integers, draws: int, seed: int) -> Floats:
    """Draws pieces again, with replacement, among those that are in the same styles.

    Args:
        style: Style of each row.
        piece: Piece of each row. All rows of a piece come together, for a chart in two styles is one piece.
        draws: How often.
        seed: Of the draws.

    Returns:
        How often each row is in each draw, [draw, row].
    """
    random = np.random.default_rng(seed)
    pieces, index = np.unique(piece, return_inverse=True)
    strata: dict[bytes, list[int]] = {}
    for number in range(len(pieces)):
        strata.setdefault(np.unique(style[index == number]).tobytes(), []).append(number)
    weights = np.empty((draws, len(pieces)))
    for members in strata.values():
        weights[:, members] = random.multinomial(len(members), np.full(len(members), 1 / len(members)), size=draws)
    return weights[:, index]


def compare(
    generated: PieceSums,
    training: PieceSums,
    held_out: PieceSums,
    *,
    roles: Sequence[str] | None = None,
    draws: int = DRAWS,
    limit: float = 3.0,
) -> Comparison:
    """Compares generated with held-out music, cell by cell, beside training music.

    The ratio of a cell is its distance over that of training music. Where training music happens to equal held-out
    music, that says nothing, so the divisor is at least the median distance of training music over all cells: there a
    cell is judged by what is usual among real pieces. (And at least a tenth, should real pieces all agree.)

    Drawing pieces again adds to distances what chance does, so that their intervals lie rather too high than too low.

    Args:
        generated: Of the model.
        training: Of real music, the training part.
        held_out: Of real music, the part that is measured against.
        roles: Tracks that the model has; None for all.
        draws: Bootstrap draws, over the pieces of all three. The spreads stay as they are.
        limit: Ratio above which a cell is counted in `surely_over`.
    """
    styles = np.intersect1d(np.unique(held_out.style), np.unique(generated.style)).tolist()
    known = _measured(training, held_out, styles, roles)  # [style, cell]
    spread = _spread(training, held_out, styles)[known]
    parts = (generated, training, held_out)
    figures = np.stack([part.means(styles)[known] for part in parts], axis=-1)
    ours, real, ratios = _ratios(figures.T[:, None], spread)
    again = [
        part.means(styles, resample(part.style, part.piece, draws, seed))[:, known] for seed, part in enumerate(parts)
    ]
    our_draws, real_draws, ratio_draws = _ratios(np.stack(again), spread)
    worst = int(np.argmax(ratios[0])) if ratios.size else -1
    low = np.percentile(ratio_draws, 2.5, axis=0, method="nearest") if ratios.size else np.empty(0)
    places = np.argwhere(known)
    return Comparison(
        cells=tuple((styles[style], held_out.cells[cell]) for style, cell in places),
        figures=figures,
        bounds=_bounds(figures, np.stack(again)),
        generated=ours[0],
        training=real[0],
        ratios=ratios[0],
        median=interval(_median(ours)[0], _median(our_draws)),
        training_median=interval(_median(real)[0], _median(real_draws)),
        worst=worst,
        worst_ratio=interval(float(ratios[0, worst]), ratio_draws[:, worst])
        if ratios.size
        else Interval(np.nan, np.nan, np.nan),
        surely_over=int((low > limit).sum()),
    )


def shuffle_tracks(style: Integers, piece: Integers, tracks: int, *, seed: int) -> Integers:
    """Draws for each segment's tracks segments of the same style, each of another piece.

    One of the tracks, by chance, stays the segment's own; pieces come as often as they have segments. A style with
    fewer pieces than tracks uses each as seldom as it can; a segment of a style with one piece is left as it is.

    Args:
        style: [segment].
        piece: [segment].
        tracks: Number of tracks.
        seed: Of the draws.

    Returns:
        Index of the segment that gives the track, [segment, track].
    """
    random = np.random.default_rng(seed)
    source = np.tile(np.arange(len(style))[:, None], (1, tracks))
    for number in np.unique(style):
        own = np.flatnonzero(style == number)
        pieces, index, counts = np.unique(piece[own], return_inverse=True, return_counts=True)
        if len(pieces) < 2:
            continue
        # Gumbel noise on log weights orders without replacement in proportion to the weights.
        keys = np.log(counts) + random.gumbel(size=(len(own), len(pieces)))
        keys[np.arange(len(own)), index] = np.inf
        order = np.argsort(-keys, axis=1)[:, np.arange(tracks) % len(pieces)]
        first = np.concatenate([[0], np.cumsum(counts)[:-1]])
        by_piece = own[np.argsort(index, kind="stable")]
        drawn = by_piece[first[order] + (random.random(order.shape) * counts[order]).astype(np.int64)]
        drawn[:, 0] = own
        source[own] = random.permuted(drawn, axis=1)
    return source


def by_style(values: Floats, style: Integers) -> float:
    """Returns the mean over styles of the means within; segments without a value are left out, NaN of nothing."""
    return float(_style_means(values, style, np.ones((1, len(style))))[0])


def style_mean(values: Floats, segments: Segments, *, draws: int = DRAWS, seed: int = 0) -> Interval:
    """Returns `by_style` with its interval over the pieces."""
    weights = resample(segments.style, segments.piece, draws, seed)
    return interval(by_style(values, segments.style), _style_means(values, segments.style, weights))


def measure_pieces(segments: Segments, layout: Layout = STANDARD) -> Mapping[str, PieceSums]:
    """Measures segments and adds up by piece, in each convention."""
    tallies = measure(segments.onset, segments.hold, layout)
    return {name: PieceSums.of(tallies[name], segments) for name in CONVENTIONS}


def mix_tracks(segments: Segments, source: Integers) -> Segments:
    """Puts together tracks of several segments: source [segment, track] are indices. Style and piece stay."""
    tracks = np.arange(source.shape[1])
    onset, hold = (
        rolls[source[:, None, :], np.arange(rolls.shape[1])[:, None], tracks]
        for rolls in (segments.onset, segments.hold)
    )
    return Segments(onset, hold, segments.style, segments.piece, segments.tempo_bpm)


def _style_means(values: Floats, style: Integers, weights: Floats) -> Floats:
    """Returns the mean over styles of the weighted means within, [draw]."""
    known = ~np.isnan(values)
    total, styles = np.zeros(len(weights)), np.zeros(len(weights))
    for number in np.unique(style[known]):
        own = weights[:, known & (style == number)]
        size = own.sum(axis=1)
        total += np.divide(own @ values[known & (style == number)], size, out=np.zeros(len(size)), where=size > 0)
        styles += size > 0
    means: Floats = np.divide(total, styles, out=np.full(len(total), np.nan), where=styles > 0)
    return means


def _measured(
    training: PieceSums, held_out: PieceSums, styles: Sequence[int], roles: Sequence[str] | None
) -> NDArray[np.bool_]:
    found = np.zeros((len(styles), len(held_out.cells)), dtype=bool)
    for index, style in enumerate(styles):
        enough = np.ones(len(held_out.cells), dtype=bool)
        for part in (training, held_out):
            enough &= (part.bottom[part.style == style] > 0).sum(axis=0) >= _MIN_PIECES
        own = held_out.style == style
        found[index] = enough & (held_out.support[own].sum(axis=0) >= _MIN_SHARE * held_out.segments[own].sum())
    if roles is not None:
        found &= np.array([set(cell.tracks.split("-")) <= set(roles) for cell in held_out.cells])
    return found


def _spread(training: PieceSums, held_out: PieceSums, styles: Sequence[int]) -> Floats:
    """Returns the standard deviation between pieces, [style, cell], or the least."""
    least = np.array([_MIN_SPREAD[cell.metric] for cell in held_out.cells])
    found = np.tile(least, (len(styles), 1))
    for index, style in enumerate(styles):
        squares, freedom = np.zeros(len(least)), np.zeros(len(least))
        for part in (training, held_out):
            own = part.style == style
            bottom = part.bottom[own]
            has = bottom > 0
            value = np.divide(part.top[own], bottom, out=np.zeros(bottom.shape), where=has)
            count = has.sum(axis=0)
            mean = value.sum(axis=0) / np.maximum(count, 1)
            squares += (has * (value - mean) ** 2).sum(axis=0)
            freedom += np.maximum(count - 1, 0)
        found[index] = np.maximum(least, np.sqrt(squares / np.maximum(freedom, 1)))
    return found


def _ratios(figures: Floats, spread: Floats) -> tuple[Floats, Floats, Floats]:
    """Returns distances of generated and training music, and their ratios; all [draw, cell].

    Args:
        figures: [(generated, training, held-out), draw, cell].
        spread: [cell].
    """
    generated, training, held_out = figures
    ours = np.nan_to_num(np.abs(generated - held_out) / spread, nan=np.inf, posinf=np.inf)
    real = np.nan_to_num(np.abs(training - held_out) / spread, nan=0.0)
    divisor = np.maximum(np.maximum(real, _median(real)[:, None]), _MIN_DISTANCE)
    return ours, real, ours / divisor


def _bounds(figures: Floats, draws: Floats) -> Floats:
    """Returns intervals of figures [cell, part] by draws [part, draw, cell], [cell, part, 2]."""
    # A draw without any piece that has the cell says nothing.
    filled = np.where(np.isnan(draws), figures.T[:, None], draws)
    bounds: Floats = np.percentile(filled, [2.5, 97.5], axis=1)
    return bounds.transpose(2, 1, 0)


def _median(distances: Floats) -> Floats:
    """Returns the median over cells of each draw; NaN where there are none."""
    if not distances.shape[1]:
        return np.full(len(distances), np.nan)
    found: Floats = np.median(distances, axis=1)
    return found
