"""Means over questions with their 95 % intervals, beside those of baselines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_export.measuring import bootstrap, make_metric

__all__ = ["RESAMPLED", "SEED", "mean_interval", "mean_metric"]

RESAMPLED = 1000
SEED = 7_000


def mean_metric(
    name: str, values: NDArray[np.float64], unit: str, beside: Mapping[str, NDArray[np.float64]]
) -> manifest_pb2.Metric:
    """Returns a mean with its interval, beside the means of baselines; the best of these is the reference."""
    others = sorted(((float(each.mean()), label) for label, each in beside.items()), reverse=True)
    return make_metric(
        name,
        float(values.mean()),
        f"{unit}; {len(values)}",
        {label: mean for mean, label in others},
        interval=mean_interval(values),
    )


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of a mean.

    Args:
        values: [question], at least one.
    """
    return bootstrap(len(values), lambda chosen: float(values[chosen].mean()), draws=RESAMPLED, seed=SEED)
