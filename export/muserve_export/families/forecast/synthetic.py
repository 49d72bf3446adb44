"""Made series with several seasons, for frequencies of which there are no real ones to learn from."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muserve_export.families.forecast.frequencies import Frequency

__all__ = ["make_series"]

_HARMONICS = 4


def make_series(frequency: Frequency, count: int, seed: int) -> list[NDArray[np.float64]]:
    """Makes positive series: a wandering trend times seasons times noise, with some shifts and outliers.

    Args:
        frequency: Whose seasons they get.
        count: How many.
        seed: Of the draws; series i depends on seed, frequency and i alone.

    Returns:
        `count` series of two to four fifths more than the frequency's context.
    """
    return [_make_one(frequency, np.random.default_rng((seed, frequency.index, index))) for index in range(count)]


def _make_one(frequency: Frequency, random: np.random.Generator) -> NDArray[np.float64]:
    steps = frequency.context_steps + int(random.integers(frequency.context_steps * 2 // 5, frequency.context_steps))
    noise_size = 10 ** random.uniform(-2.2, -0.7)
    drift = random.normal(0, 0.3) * noise_size
    trend = np.cumsum(drift + noise_size * 10 ** random.uniform(-1.5, 0) * random.standard_normal(steps))
    season = np.zeros(steps)
    for period in frequency.periods:
        season += _season(period, steps, random) * noise_size * random.uniform(0, 6)
    noise = random.standard_t(random.uniform(3, 12), steps) * noise_size
    memory = random.uniform(0, 0.7)
    for step in range(1, steps):
        noise[step] += memory * noise[step - 1]
    if random.random() < 0.2:
        trend[int(random.integers(1, steps)) :] += random.normal(0, 4) * noise_size
    logarithm = np.clip(trend + season + noise, -20, 20)
    return np.exp(logarithm) * 10 ** random.uniform(0, 5)


def _season(period: int, steps: int, random: np.random.Generator) -> NDArray[np.float64]:
    """A season of a few waves, or of steps that each have their own height, about 1 in size."""
    if random.random() < 0.4:
        pattern = random.standard_normal(period)
    else:
        time = np.arange(period) / period
        pattern = np.zeros(period)
        for harmonic in range(1, min(_HARMONICS, period // 2) + 1):
            angle = 2 * np.pi * (harmonic * time + random.random())
            pattern += random.normal(0, 1 / harmonic) * np.cos(angle)
    pattern -= pattern.mean()
    pattern /= max(float(pattern.std()), 1e-9)
    return np.tile(pattern, steps // period + 2)[int(random.integers(period)) :][:steps]
