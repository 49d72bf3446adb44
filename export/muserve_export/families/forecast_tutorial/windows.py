"""Training windows: plain values and the one after them."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from muserve_export.errors import DataError
from muserve_export.families.forecast.config import SINE, ForecastConfig
from muserve_export.families.forecast.data import ForecastData

__all__ = ["NextValueWindows", "next_value_windows"]


@dataclass(frozen=True)
class NextValueWindows:
    """Plain windows and the value after each."""

    windows: Tensor
    """[window, step, 1]."""
    targets: Tensor
    """[window]."""

    def __len__(self) -> int:
        return len(self.windows)

    def batch(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Returns windows by index."""
        return self.windows[indices], self.targets[indices]


def next_value_windows(config: ForecastConfig, data: ForecastData) -> NextValueWindows:
    """Makes the windows of a network that gives the next value.

    Raises:
        DataError: No series is long enough.
    """
    windows, targets = [], []
    for series in data.series:
        values = series.values if config.data == SINE else series.training(config.hold_out)
        if len(values) <= config.window_steps:
            continue
        view = np.lib.stride_tricks.sliding_window_view(values, config.window_steps + 1)
        view = view[~np.isnan(view).any(axis=1)]
        windows.append(view[:, :-1])
        targets.append(view[:, -1])
    if not windows or not sum(len(part) for part in windows):
        raise DataError(f"no series has {config.window_steps + 1} values in a row to learn from")
    return NextValueWindows(
        torch.from_numpy(np.concatenate(windows)).float()[..., None],
        torch.from_numpy(np.concatenate(targets)).float(),
    )
