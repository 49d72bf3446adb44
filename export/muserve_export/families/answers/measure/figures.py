"""Means over questions with their 95 % intervals, beside those of baselines."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2

__all__ = ["RESAMPLED", "SEED", "mean_interval", "mean_metric", "with_interval"]

RESAMPLED = 1000
SEED = 7_000


def mean_metric(
    name: str, values: NDArray[np.float64], unit: str, beside: Mapping[str, NDArray[np.float64]]
) -> manifest_pb2.Metric:
    """Returns a mean with its interval, beside the means of baselines; the best of these is the reference."""
    low, high = mean_interval(values)
    metric = manifest_pb2.Metric(name=name, value=float(values.mean()), unit=f"{unit}; {len(values)}")
    others = sorted(((float(values_of.mean()), label) for label, values_of in beside.items()), reverse=True)
    if others:
        metric.reference, metric.reference_name = others[0]
    metric.others.extend(manifest_pb2.MetricReference(name=label, value=value) for value, label in others[1:])
    return with_interval(metric, low, high)


def with_interval(metric: manifest_pb2.Metric, low: float, high: float) -> manifest_pb2.Metric:
    """Adds the two ends of a 95 % interval to a figure."""
    metric.others.add(name="95 % from", value=low)
    metric.others.add(name="to", value=high)
    return metric


def mean_interval(values: NDArray[np.float64]) -> tuple[float, float]:
    """Returns the 95 % bootstrap interval of a mean.

    Args:
        values: [question], at least one.
    """
    random = np.random.default_rng(SEED)
    drawn = [values[random.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLED)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
