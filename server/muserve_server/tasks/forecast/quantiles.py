"""Any quantile, and the mean, from the quantiles that a model gives. Pure functions."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray

__all__ = ["at_levels", "mean", "widen"]

Floats = NDArray[np.float64]

_FINE = tuple((index + 0.5) / 200 for index in range(200))


def at_levels(quantiles: Floats, known: Sequence[float], wanted: Sequence[float]) -> Floats:
    """Interpolates between quantiles, linearly over the normal distribution's; beyond them their slope goes on.

    Args:
        quantiles: [..., known level], rising along the last axis.
        known: At least two levels, rising.
        wanted: Levels above 0 and below 1.

    Returns:
        [..., wanted level].
    """
    normal = NormalDist()
    places = np.array([normal.inv_cdf(level) for level in known])
    sought = np.array([normal.inv_cdf(level) for level in wanted])
    left = np.clip(np.searchsorted(places, sought, side="right") - 1, 0, len(places) - 2)
    share = (sought - places[left]) / (places[left + 1] - places[left])
    lower, upper = quantiles[..., left], quantiles[..., left + 1]
    # Not lower + share * (upper - lower): at a known level the model's own number comes out, bit by bit.
    found: Floats = lower * (1 - share) + upper * share
    return found


def mean(quantiles: Floats, known: Sequence[float]) -> Floats:
    """Integrates quantiles over their levels: [..., level] to [...]."""
    average: Floats = at_levels(quantiles, known, _FINE).mean(axis=-1)
    return average


def widen(quantiles: Floats, middle: int, spread: float, before: Floats | None = None) -> Floats:
    """Scales the distance of quantiles from their median, and adds what was uncertain before.

    Args:
        quantiles: [series, step, level].
        middle: Index of the median.
        spread: Factor; 1 changes nothing.
        before: [series, level]: distances of the last step of the run before, added as independent errors are.

    Returns:
        [series, step, level].
    """
    median = quantiles[..., middle : middle + 1]
    distance = (quantiles - median) * spread
    if before is not None:
        distance = np.sign(distance) * np.hypot(distance, before[:, None, :])
    return median + distance
