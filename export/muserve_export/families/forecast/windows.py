"""Training windows: every place in every series from which some of the future is known.

Made by the code that makes the served ones, so that a network is served what it learnt from.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muserve_export.errors import DataError
from muserve_export.families.forecast.config import ForecastConfig
from muserve_export.families.forecast.data import ForecastData, synthetic_series
from muserve_export.families.forecast.frequencies import FREQUENCIES, HORIZON_STEPS, Frequency, frequency_named
from muserve_server.tasks.forecast.windows import Windows, make_windows

__all__ = ["GlobalWindows", "global_windows"]

_CHUNK = 8192
_MADE_ORIGINS = 24
"""Windows taken of a made series: there are as many series as one likes."""
_MOST_WINDOWS = 250_000
"""Of one group, so that thousands of long series fit into memory: more are drawn by chance, as many of each series."""
# How often each frequency is drawn. Short and noisy series, which are soon known by heart, less often.
_SHARES = {
    "yearly": 0.1, "quarterly": 0.7, "monthly": 1.5, "weekly": 0.2, "daily": 0.2, "hourly": 0.2, "other": 0.2,
}  # fmt: skip
_AGGREGATE_SHARES = {"yearly": 0.05, "quarterly": 0.35}
_LARGEST_TARGET = 60.0

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class GlobalWindows:
    """Windows of all frequencies; a batch is drawn by chance, each series of a frequency as often as any other."""

    windows: Tensor
    """[window, step, channel]."""
    facts: Tensor
    """[window, fact]."""
    targets: Tensor
    """What came, in the graph's own units, [window, horizon]; 0 where it is not known."""
    weights: Tensor
    """The typical step of the window where the target is known, else 0, [window, horizon]."""
    cumulated: Tensor
    """Cumulated probability of each window, [window]."""
    draws: int
    """Windows drawn in an epoch."""

    def __len__(self) -> int:
        return self.draws

    def batch(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Draws as many windows as there are indices, by torch's random numbers."""
        chosen = torch.searchsorted(self.cumulated, torch.rand(len(indices), dtype=torch.float64))
        chosen = chosen.clamp(max=len(self.cumulated) - 1)
        return self.windows[chosen], self.facts[chosen], self.targets[chosen], self.weights[chosen]


def global_windows(config: ForecastConfig, data: ForecastData) -> GlobalWindows:
    """Makes the windows of a global network.

    Raises:
        DataError: No series is long enough.
    """
    random = np.random.default_rng(config.seed)
    parts: list[tuple[Tensor, ...]] = []
    odds: list[Floats] = []
    for frequency, series, share, made in _groups(config, data):
        group_odds = []
        most = _MADE_ORIGINS if made else max(_MADE_ORIGINS, _MOST_WINDOWS // max(1, len(series)))
        for contexts, targets, owners in _places(frequency, series, most, random):
            kept, tensors = _learnable(frequency, contexts, targets, config, random)
            parts.append(tensors)
            known = (~np.isnan(targets[kept])).mean(axis=1) * HORIZON_STEPS / frequency.horizon_steps
            group_odds.append(np.stack([owners[kept], known]))
        if group_odds:
            owners, known = np.concatenate(group_odds, axis=1)
            chance = known / np.bincount(owners.astype(np.int64))[owners.astype(np.int64)]
            odds.append(share * chance / max(chance.sum(), 1e-12))
    if not parts or not sum(len(part[0]) for part in parts):
        raise DataError("no series is long enough to learn from")
    windows, facts, wanted, weights = (torch.cat(tensors) for tensors in zip(*parts, strict=True))
    chances = np.concatenate(odds)
    cumulated = torch.from_numpy(np.cumsum(chances / chances.sum()))
    return GlobalWindows(windows, facts, wanted, weights, cumulated, config.windows_per_epoch)


def _groups(config: ForecastConfig, data: ForecastData) -> Iterator[tuple[Frequency, Sequence[Floats], float, bool]]:
    """Yields series to learn from, how much of a batch they get, and whether they are made.

    First real ones, then sums of finer ones, then made ones.
    """
    training = {
        frequency.name: [one.training(config.hold_out) for one in data.series if one.frequency is frequency]
        for frequency in FREQUENCIES
    }
    for frequency in FREQUENCIES:
        if training[frequency.name]:
            yield frequency, training[frequency.name], _SHARES[frequency.name], False
    for coarse, finer in (("yearly", ("quarterly", "monthly")), ("quarterly", ("monthly",))):
        if training[coarse]:
            sums = [_sums(values, coarse, fine) for fine in finer for values in training[fine]]
            yield frequency_named(coarse), sums, _AGGREGATE_SHARES[coarse], False
    for frequency, series in synthetic_series(config):
        yield frequency, series, _SHARES[frequency.name], True


def _sums(values: Floats, coarse: str, fine: str) -> Floats:
    """Adds up the steps of a finer series: months to quarters, quarters to years."""
    per_year = {"yearly": 1, "quarterly": 4, "monthly": 12}
    ratio = per_year[fine] // per_year[coarse]
    whole = len(values) // ratio * ratio
    summed: Floats = values[len(values) - whole :].reshape(-1, ratio).sum(axis=1)
    return summed


def _places(
    frequency: Frequency, series: Sequence[Floats], most: int, random: np.random.Generator
) -> Iterator[tuple[Floats, Floats, NDArray[np.int64]]]:
    """Yields chunks of contexts [window, step], what came after each [window, horizon], and whose they are [window]."""
    contexts: list[Floats] = []
    targets: list[Floats] = []
    owners: list[int] = []
    for owner, values in enumerate(series):
        origins = np.arange(min(frequency.least_steps, len(values) - 1), len(values))
        if len(origins) > most:
            origins = random.choice(origins, most, replace=False)
        for origin in origins[origins >= 2]:  # one change is the least that can be seen
            context = np.full(frequency.context_steps, np.nan)
            past = values[max(0, origin - frequency.context_steps) : origin]
            context[len(context) - len(past) :] = past
            target = np.full(HORIZON_STEPS, np.nan)
            future = values[origin : origin + frequency.horizon_steps]
            target[: len(future)] = future
            contexts.append(context)
            targets.append(target)
            owners.append(owner)
            if len(owners) == _CHUNK:
                yield np.stack(contexts), np.stack(targets), np.array(owners)
                contexts, targets, owners = [], [], []
    if owners:
        yield np.stack(contexts), np.stack(targets), np.array(owners)


def _learnable(
    frequency: Frequency, contexts: Floats, targets: Floats, config: ForecastConfig, random: np.random.Generator
) -> tuple[NDArray[np.int64], tuple[Tensor, ...]]:
    """Makes the network's tensors, and says of which contexts: those without a change have nothing to learn."""
    losing = np.flatnonzero(random.random(len(contexts)) < config.missing_share)
    lost = random.random((len(losing), contexts.shape[1])) < random.uniform(0.02, 0.3, (len(losing), 1))
    lost[:, -1] = False
    contexts = contexts.copy()
    contexts[losing] = np.where(lost, np.nan, contexts[losing])
    seen = np.count_nonzero(~np.isnan(contexts), axis=1) >= 2
    linear = random.random(len(contexts)) < config.linear_share
    parts, places = [], []
    for mode in (False, True):
        chosen = np.flatnonzero(seen & (linear == mode))
        if not len(chosen):
            continue
        windows = make_windows(
            contexts[chosen],
            periods=frequency.periods,
            window_steps=config.window_steps,
            horizon_steps=HORIZON_STEPS,
            frequency=frequency.index,
            frequencies=len(FREQUENCIES),
            linear=mode,
        )
        wanted, weights = _relative_targets(targets[chosen], windows)
        moving = (windows.step > 0) & (weights.sum(axis=1) > 0)
        places.append(chosen[moving])
        tensors = (windows.window, windows.static_features, wanted.astype(np.float32), weights.astype(np.float32))
        parts.append(tuple(torch.from_numpy(array[moving]) for array in tensors))
    if not parts:
        raise DataError("no window has two values")
    return np.concatenate(places), tuple(torch.cat(tensors) for tensors in zip(*parts, strict=True))


def _relative_targets(targets: Floats, windows: Windows) -> tuple[Floats, Floats]:
    """Takes out of the future what was taken out of the past; says how much each step of it weighs."""
    share = targets / windows.scale[:, None]
    is_log = windows.is_log[:, None]
    known = ~np.isnan(share) & (~is_log | (share > 0))
    share = np.where(known, share, 1.0)
    relative = np.where(is_log, np.log(np.where(is_log, share, 1.0)), share)
    unit = np.where(windows.step > 0, windows.step, 1.0)[:, None]
    wanted = (relative - windows.level[:, None] - windows.season) / unit
    known &= np.abs(wanted) < _LARGEST_TARGET
    return np.where(known, wanted, 0.0), np.where(known, unit, 0.0)
