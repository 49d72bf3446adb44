"""Normalizes series to the graph's inputs, and back: logarithm, seasons, level and step are removed, then restored.

Training uses these functions too, so that a network is served what it was trained on. Everything works row by row: a
series does not depend on the other series of a batch. Pure functions on 64-bit floats.

Seasons are taken out by classical decomposition (centred moving average; Makridakis, Wheelwright and Hyndman,
"Forecasting: Methods and Applications", 1998, chapter 3), each season shrunk by how much of it may be chance (James and
Stein, "Estimation with Quadratic Loss", 1961).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["CHANNELS", "LARGEST", "LEAST", "STATIC_FEATURES", "Windows", "fill_gaps", "make_windows", "restore"]

CHANNELS = 4
"""Channels of a window: distance to the last level, change, season, whether a value is present."""
STATIC_FEATURES = 7
"""Static features of a window, before its one-hot frequency."""
LARGEST = float(np.finfo(np.float64).max) / 4
"""Maximum absolute value of a forecast: differences of any two do not overflow."""
LEAST = 5e-324
"""The smallest number above 0: forecasts of positive series never become 0."""

_MAX_DISTANCE, _MAX_CHANGE, _MAX_SEASON = 8.0, 8.0, 5.0
_MIN_STEP = 1e-5
_MIN_UNIT = 1e-300
_MIN_CYCLES = 1.5
_LARGEST_EXPONENT = 700.0
_MIN_SHARE = 1e-300  # of the largest value; what is smaller counts as this, so that no ratio overflows

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Windows:
    """Inputs of the graph for a batch of series, and what restores its outputs to their scale."""

    window: NDArray[np.float32]
    """[series, step, channel], the newest step last."""
    static_features: NDArray[np.float32]
    """[series, feature]: `STATIC_FEATURES` numbers, then the one-hot frequency. The graph's input is named "facts"."""
    scale: Floats
    """[series]: scale of the values; the rest is relative to it."""
    is_log: Flags
    """[series]: whether the logarithm was taken."""
    level: Floats
    """[series]: seasonally adjusted last value."""
    season: Floats
    """[series, horizon]: seasonal component of the forecast steps."""
    step: Floats
    """[series]: mean absolute change from step to step; 0 for a series of season alone."""


def fill_gaps(values: Floats) -> tuple[Floats, Flags]:
    """Fills missing values: linearly between neighbours, by the first or last value at the ends.

    Args:
        values: [series, step]; NaN where missing, at least one a row that is not.

    Returns:
        The filled values, and where values were present.
    """
    present = ~np.isnan(values)
    steps = np.arange(values.shape[1])
    first = np.argmax(present, axis=1)
    # Most series are only short: their beginnings are filled at once.
    filled = np.where(steps < first[:, None], values[np.arange(len(values)), first][:, None], values)
    for row in np.flatnonzero(np.isnan(filled).any(axis=1)):
        known = values[row, present[row]]
        shrink = 0.25 if np.abs(known).max() > LARGEST else 1.0  # differences must not overflow
        line = np.interp(steps, steps[present[row]], known * shrink) / shrink
        # Among the smallest numbers, slopes and shrunk values are rounded.
        filled[row] = np.where(present[row], values[row], np.clip(line, known.min(), known.max()))
    return filled, present


def make_windows(
    values: Floats,
    *,
    periods: Sequence[int],
    window_steps: int,
    horizon_steps: int,
    frequency: int,
    frequencies: int,
    linear: bool | Flags = False,
) -> Windows:
    """Normalizes series of one frequency by scale, logarithm, seasons, level and step.

    Args:
        values: [series, step], the newest last, NaN where missing; the number of steps is a multiple of each period.
        periods: Lengths of the seasons, the shortest first.
        window_steps: Input steps of the graph.
        horizon_steps: Output steps of the graph.
        frequency: Index of the series' frequency among those that the graph knows.
        frequencies: Number of these frequencies.
        linear: Never take the logarithm; [series], or one for all.
    """
    filled, present = fill_gaps(values)
    relative, scale, is_log = _to_relative(filled, present, linear=linear)
    seasons, coming, strength = _seasons(relative, present, periods, horizon_steps)
    # Gaps were filled with the seasons in; without them they are straight lines, and the end is the last known level.
    plain, _ = fill_gaps(np.where(present, relative - seasons, np.nan))
    level = plain[:, -1]
    known = _newest(present, window_steps)
    distance = _newest(plain - level[:, None], window_steps) * known
    both = np.zeros_like(known)
    both[:, 1:] = known[:, 1:] * known[:, :-1]
    change = np.zeros_like(distance)
    change[:, 1:] = np.diff(distance, axis=1)
    change *= both
    pairs = np.maximum(both.sum(axis=1), 1.0)
    step = np.abs(change).sum(axis=1) / pairs
    if not step.all():
        step = np.where(step > 0, step, _step_over_gaps(plain, present, window_steps))
    unit = np.maximum(step, _MIN_UNIT)
    season = _newest(seasons, window_steps) * known
    window = np.stack(
        [
            np.clip(distance / unit[:, None] / 4, -_MAX_DISTANCE, _MAX_DISTANCE),
            np.clip(change / unit[:, None], -_MAX_CHANGE, _MAX_CHANGE),
            np.clip(season / unit[:, None], -_MAX_SEASON, _MAX_SEASON),
            known,
        ],
        axis=-1,
    )
    static_features = np.zeros((len(values), STATIC_FEATURES + frequencies))
    static_features[:, 0] = np.log(np.clip(step, _MIN_STEP, 1e3)) / 3
    static_features[:, 1] = strength
    static_features[:, 2] = present.mean(axis=1)
    static_features[:, 3] = both.mean(axis=1)
    static_features[:, 4] = change.sum(axis=1) / pairs / unit
    static_features[:, 5] = np.clip(np.abs(season).mean(axis=1) / unit, 0, _MAX_SEASON)
    static_features[:, 6] = is_log
    static_features[:, STATIC_FEATURES + frequency] = 1
    return Windows(window.astype(np.float32), static_features.astype(np.float32), scale, is_log, level, coming, step)


def restore(forecast: NDArray[np.floating], windows: Windows) -> Floats:
    """Restores the graph's outputs to the scale of their series.

    Args:
        forecast: [series, horizon, quantile].
        windows: The windows of the same series.

    Returns:
        [series, horizon, quantile], always finite; above 0 where the logarithm was taken.
    """
    horizon = forecast.shape[1]
    relative = (windows.level[:, None] + windows.season[:, :horizon])[:, :, None]
    relative = relative + forecast.astype(np.float64) * windows.step[:, None, None]
    exponent = np.clip(relative, -_LARGEST_EXPONENT, _LARGEST_EXPONENT)
    plain = np.where(windows.is_log[:, None, None], np.exp(exponent), relative)
    with np.errstate(over="ignore"):
        values: Floats = np.clip(plain * windows.scale[:, None, None], -LARGEST, LARGEST)
    return np.where(windows.is_log[:, None, None], np.maximum(values, LEAST), values)


def _to_relative(filled: Floats, present: Flags, *, linear: bool | Flags) -> tuple[Floats, Floats, Flags]:
    """Divides by the typical size, and takes the logarithm where all values are above zero."""
    positive: Flags = np.all(filled > 0, axis=1) & ~np.asarray(linear)
    size = np.where(present, np.abs(filled), 0.0).max(axis=1)
    size = np.where(size > 0, size, 1.0)
    share = filled / size[:, None]  # within -1 … 1, so that nothing overflows
    share = np.where(positive[:, None], np.maximum(share, _MIN_SHARE), share)
    typical = (np.abs(share) * present).sum(axis=1) / np.maximum(present.sum(axis=1), 1)
    scale = np.where(positive, share[:, -1], np.where(typical > 0, typical, 1.0))
    share = share / scale[:, None]
    relative = np.where(positive[:, None], np.log(np.where(positive[:, None], share, 1.0)), share)
    return relative, np.where(positive, filled[:, -1], scale * size), positive


def _newest(array: NDArray[np.generic], steps: int) -> Floats:
    """The last steps, with zeros before where there are too few: [series, step]."""
    taken = array[:, -steps:].astype(np.float64)
    return np.pad(taken, ((0, 0), (steps - taken.shape[1], 0)))


def _step_over_gaps(plain: Floats, present: Flags, window_steps: int) -> Floats:
    """Mean absolute change a step where none is seen between neighbours: from known value to known value, over gaps.

    Of the window's steps; of all where the window is one gap.
    """
    seen = present[:, -window_steps:].any(axis=1)
    begun = np.maximum.accumulate(present, axis=1)
    steps: list[Floats] = []
    for part in (slice(-window_steps, None), slice(None)):
        changes = np.abs(np.diff(plain[:, part], axis=1)).sum(axis=1)
        steps.append(changes / np.maximum(begun[:, part].sum(axis=1) - 1, 1))
    return np.where(seen, *steps)


def _seasons(
    relative: Floats, present: Flags, periods: Sequence[int], horizon_steps: int
) -> tuple[Floats, Floats, Floats]:
    """Estimates one season after the other, each from what the shorter ones leave.

    Returns:
        Their sum over the past, [series, step], over the steps to come, [series, horizon], and the largest share that
        is kept of one, [series].
    """
    past = np.zeros_like(relative)
    coming = np.zeros((len(relative), horizon_steps))
    strength = np.zeros(len(relative))
    for period in periods:
        season, share = _season(relative - past, present, period)
        past += np.tile(season, (1, relative.shape[1] // period))
        coming += np.tile(season, (1, -(-horizon_steps // period)))[:, :horizon_steps]
        strength = np.maximum(strength, share)
    return past, coming, strength


def _season(relative: Floats, present: Flags, period: int) -> tuple[Floats, Floats]:
    """Estimates one season a row: [series, period], in step with the oldest column, and how much of it is kept, 0 … 1.

    Rows of less than about two and a half cycles have none: the moving average takes one, one and a half must be left.
    """
    rows, steps = relative.shape
    half = period // 2
    centred = relative - relative[:, -1:]
    width = 2 * half + 1
    weights = np.ones(width)
    if period % 2 == 0:
        weights[[0, -1]] = 0.5
    season, share = np.zeros((rows, period)), np.zeros(rows)
    if steps < width:
        return season, share
    begun = np.maximum.accumulate(present, axis=1)  # gaps are filled well enough for a trend
    whole = begun[:, : steps - 2 * half] & present[:, half : steps - half]
    rest = np.zeros_like(centred)
    counted = np.zeros_like(centred)
    rest[:, half : steps - half] = (centred[:, half : steps - half] - _moving_sum(centred, weights) / period) * whole
    counted[:, half : steps - half] = whole
    rest, counted = (array.reshape(rows, -1, period) for array in (rest, counted))
    cycles = counted.sum(axis=1)
    season = (rest * counted).sum(axis=1) / np.maximum(cycles, 1)
    season -= season.mean(axis=1, keepdims=True)
    noise = (((rest - season[:, None]) * counted) ** 2).sum(axis=(1, 2))
    noise /= np.maximum(counted.sum(axis=(1, 2)) - period, 1)
    between = (season**2).sum(axis=1) / max(period - 1, 1)
    mean_cycles = cycles.mean(axis=1)
    chance = noise / np.maximum(mean_cycles, 1) / np.maximum(between, np.finfo(np.float64).tiny)
    share = np.clip(1 - chance, 0, 1) * (mean_cycles >= _MIN_CYCLES) * (cycles.min(axis=1) >= 1)
    return season * share[:, None], share


def _moving_sum(values: Floats, weights: Floats) -> Floats:
    """Weighted sums over every full window: [series, step - width + 1]."""
    width = len(weights)
    total = np.zeros((len(values), values.shape[1] - width + 1))
    for offset, weight in enumerate(weights):
        total += weight * values[:, offset : offset + total.shape[1]]
    return total
