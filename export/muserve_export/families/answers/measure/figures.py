"""Means of what was measured, each with its 95 % interval and beside what it is compared with."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2

__all__ = ["RESAMPLED", "SEED", "interval_of", "mean_metric", "with_interval"]

RESAMPLED = 1000
SEED = 7_000


def mean_metric(
    name: str, values: NDArray[np.float64], unit: str, beside: Mapping[str, NDArray[np.float64]]
) -> manifest_pb2.Metric:
    """A mean with its interval, and the same of others; the best of them is the reference."""
    low, high = interval_of(values)
    metric = manifest_pb2.Metric(name=name, value=float(values.mean()), unit=f"{unit}; {len(values)}")
    others = sorted(((float(own.mean()), label) for label, own in beside.items()), reverse=True)
    if others:
        metric.reference, metric.reference_name = others[0]
    metric.others.extend(manifest_pb2.MetricReference(name=label, value=value) for value, label in others[1:])
    return with_interval(metric, low, high)


def with_interval(metric: manifest_pb2.Metric, low: float, high: float) -> manifest_pb2.Metric:
    """Adds the two ends of a 95 % interval to a figure."""
    metric.others.add(name="95 % from", value=low)
    metric.others.add(name="to", value=high)
    return metric


def interval_of(values: NDArray[np.float64]) -> tuple[float, float]:
    """The 95 % bootstrap interval of a mean: where it begins and ends.

    Args:
        values: [question], at least one.
    """
    random = np.random.default_rng(SEED)
    drawn = [values[random.integers(len(values), size=len(values))].mean() for _ in range(RESAMPLED)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)
