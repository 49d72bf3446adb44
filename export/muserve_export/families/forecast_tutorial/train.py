"""Trains the tutorial's network: squared error of the next value."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import mse_loss

from muserve_export.families.forecast.config import ForecastConfig
from muserve_export.families.forecast.data import ForecastData
from muserve_export.families.forecast.train import Forecaster
from muserve_export.families.forecast_tutorial.model import NextValueForecaster
from muserve_export.families.forecast_tutorial.plots import plot_next_values
from muserve_export.families.forecast_tutorial.windows import NextValueWindows, next_value_windows

__all__ = ["NextValueLearner", "make_learner"]


class NextValueLearner(Forecaster):
    """The tutorial's network and what it learns from."""

    def __init__(self, fabric: Fabric, config: ForecastConfig, windows: NextValueWindows) -> None:
        torch.manual_seed(config.seed)
        super().__init__(fabric, config, NextValueForecaster(config))
        self._windows = windows

    def _losses(self, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        windows, targets = batch
        return {"squared_error": mse_loss(self._network(windows)[:, 0, 0], targets)}

    def _plot(self, network: nn.Module) -> NDArray[np.uint8]:
        found = network(self._fabric.to_device(self._windows.windows))[:, 0, 0]
        return plot_next_values(self._windows.targets.numpy(), found.cpu().numpy())


def make_learner(
    fabric: Fabric, config: ForecastConfig, data: ForecastData
) -> tuple[NextValueLearner, NextValueWindows]:
    """Builds the network and the windows that it learns from."""
    windows = next_value_windows(config, data)
    return NextValueLearner(fabric, config, windows), windows
