"""Quantiles at any level, and the mean, from the quantiles of a model. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

from muserve_server.tasks.forecast.windows import LARGEST, LEAST

__all__ = ["at_levels", "mean", "widen"]

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

_FINE = tuple((index + 0.5) / 200 for index in range(200))
_MIN_LOG, _LARGEST_LOG = float(np.log(LEAST)), float(np.log(LARGEST))


def at_levels(
    quantiles: Floats, known: Sequence[float], requested: Sequence[float], *, above_zero: Flags | None = None
) -> Floats:
    """Interpolates quantiles linearly over normal quantiles, and extrapolates beyond the outermost ones.

    Args:
        quantiles: [series, step, known level], rising along the last axis.
        known: At least two levels, rising.
        requested: Levels above 0 and below 1.
        above_zero: [series]: those with positive quantiles: extrapolated on the logarithms, so that they stay positive.

    Returns:
        [series, step, requested level], finite, ascending with the level; at known levels exactly the model's numbers.
    """
    left, share = _places(known, requested)
    values = _between(quantiles[..., left], quantiles[..., left + 1], share)
    tails = np.flatnonzero((share < 0) | (share > 1))
    if above_zero is not None and above_zero.any() and len(tails):
        chosen = above_zero[:, None, None]
        logs = np.log(np.where(chosen, quantiles, 1.0))
        grown = _between(logs[..., left[tails]], logs[..., left[tails] + 1], share[tails])
        grown = np.exp(np.clip(grown, _MIN_LOG, _LARGEST_LOG))
        below = np.clip(grown, LEAST, quantiles[..., :1])  # the logarithm may have rounded
        above = np.maximum(grown, quantiles[..., -1:])
        slopes = (
            quantiles[..., left[tails]] < quantiles[..., left[tails] + 1]
        )  # elsewhere the last one goes on as it is
        values[..., tails] = np.where(chosen & slopes, np.where(share[tails] < 0, below, above), values[..., tails])
    return np.clip(values, -LARGEST, LARGEST)


def mean(quantiles: Floats, known: Sequence[float]) -> Floats:
    """Integrates quantiles over their levels: [..., level] to [...]."""
    left, share = _places(known, _FINE)
    weights = np.zeros(len(known))
    np.add.at(weights, left, (1 - share) / len(_FINE))
    np.add.at(weights, left + 1, share / len(_FINE))
    lowest = quantiles[..., :1]  # distances from it, so that where all is certain nothing is rounded
    average: Floats = lowest[..., 0] + ((quantiles - lowest) * weights).sum(axis=-1)
    return np.clip(average, -LARGEST, LARGEST)


def widen(quantiles: Floats, middle: int, spread: float, before: Floats | None = None) -> Floats:
    """Scales the distance of quantiles from their median, and adds the uncertainty of the previous run.

    Args:
        quantiles: [series, step, level].
        middle: Index of the median.
        spread: Factor; 1 changes nothing.
        before: [series, level]: distances of the last step of the previous run, added as independent errors.

    Returns:
        [series, step, level].
    """
    median = quantiles[..., middle : middle + 1]
    distance = (quantiles - median) * spread
    if before is not None:
        side = np.sign(np.arange(quantiles.shape[-1]) - middle)
        distance = side * np.hypot(distance, before[:, None, :])
    return median + distance


def _places(known: Sequence[float], requested: Sequence[float]) -> tuple[NDArray[np.intp], Floats]:
    """Returns between which two known levels each requested one lies: index of the lower, and share of the way."""
    normal = NormalDist()
    places = np.array([normal.inv_cdf(level) for level in known])
    sought = np.array([normal.inv_cdf(level) for level in requested])
    left = np.clip(np.searchsorted(places, sought, side="right") - 1, 0, len(places) - 2)
    return left, (sought - places[left]) / (places[left + 1] - places[left])


def _between(lower: Floats, upper: Floats, share: Floats) -> Floats:
    """Goes a share of the way from lower to upper, or on beyond them: never falls as the share rises."""
    beyond = share >= 1
    with np.errstate(over="ignore"):
        value = np.where(beyond, upper, lower) + (upper - lower) * np.where(beyond, share - 1, share)
    return np.where(beyond, value, np.minimum(value, upper))
