"""Figures of a bundle: each beside what it is compared with, some with a bootstrap interval. Needs no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2

__all__ = ["Figures", "bootstrap", "make_metric"]

_PERCENTILES = (2.5, 97.5)


@dataclass(frozen=True)
class Figures:
    """What a bundle was measured to be."""

    metrics: Sequence[manifest_pb2.Metric]
    """For its manifest and model card."""
    details: Sequence[Mapping[str, object]] = ()
    """The figures behind them, for `--details`: rows with the same keys."""


def make_metric(
    name: str,
    value: float,
    unit: str,
    beside: Mapping[str, float] | None = None,
    *,
    interval: tuple[float, float] | None = None,
) -> manifest_pb2.Metric:
    """Makes one figure.

    Args:
        name: Its name: "frechet_distance".
        value: What was measured.
        unit: Its unit, and which direction is better.
        beside: What it is compared with, by name; the first is the reference.
        interval: The ends of its 95 % interval.
    """
    metric = manifest_pb2.Metric(name=name, value=value, unit=unit)
    others = list((beside or {}).items())
    if others:
        metric.reference_name, metric.reference = others[0]
    if interval:
        others += zip(("95 % from", "to"), interval, strict=True)
    for label, other in others[1:] if beside else others:
        metric.others.add(name=label, value=other)
    return metric


def bootstrap(
    count: int, figure: Callable[[NDArray[np.int64]], float], *, draws: int = 2000, seed: int = 0
) -> tuple[float, float]:
    """Returns the interval that holds a figure in 95 % of resamples with replacement (Efron, 1979).

    Args:
        count: Number of items.
        figure: Computes the figure of some items, given by index.
        draws: Number of resamples.
        seed: Of the resampling.
    """
    random = np.random.default_rng(seed)
    figures = [figure(random.integers(0, count, count)) for _ in range(draws)]
    low, high = np.percentile(figures, _PERCENTILES)
    return float(low), float(high)
