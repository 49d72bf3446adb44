"""Trains the global network: quantile losses, and the sMAPE of the median."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn

from muserve_export.families.forecast.config import ForecastConfig
from muserve_export.families.forecast.data import ForecastData
from muserve_export.families.forecast.model import MIDDLE, QUANTILES, GlobalForecaster
from muserve_export.families.forecast.plots import plot_windows
from muserve_export.families.forecast.windows import GlobalWindows, global_windows
from muserve_export.training.networks import TrainedNetwork, modules_of, optimizers_of
from muserve_export.training.schedules import warm_up_cosine

__all__ = ["ForecastLearner", "Forecaster", "make_learner"]


class Forecaster(ABC):
    """One network with AdamW and a cosine schedule; see `training.loop.Learner`. A subclass has losses and a sheet."""

    def __init__(self, fabric: Fabric, config: ForecastConfig, network: nn.Module) -> None:
        self._fabric, self._config = fabric, config
        optimizer = torch.optim.AdamW(network.parameters(), lr=config.learning_rate, weight_decay=config.weight_decay)
        self._network = TrainedNetwork(fabric, "forecaster", network, optimizer, ema_decay=config.ema_decay)

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return modules_of([self._network])

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return optimizers_of([self._network])

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        """Learns from one batch."""
        config = self._config
        share = warm_up_cosine(
            step / steps, warm_up_share=config.warm_up_share, final_share=config.final_learning_rate_share
        )
        self._network.scale_learning_rate(share)
        losses = self._losses(batch)
        self._network.learn(torch.stack(list(losses.values())).sum(), clip_norm=config.clip_norm)
        self._network.follow(step)
        return losses

    def sheet(self) -> NDArray[np.uint8]:
        """Plots forecasts over what came: uint8 [height, width, channel]."""
        network = self._network.best.eval()
        with torch.no_grad():
            picture = self._plot(network)
        network.train()
        return picture

    @abstractmethod
    def _losses(self, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        """Returns the losses of a batch by name; their sum is minimized."""

    @abstractmethod
    def _plot(self, network: nn.Module) -> NDArray[np.uint8]:
        """Plots what the network forecasts: uint8 [height, width, channel]."""


class ForecastLearner(Forecaster):
    """The global network and what it learns from."""

    def __init__(self, fabric: Fabric, config: ForecastConfig, windows: GlobalWindows) -> None:
        torch.manual_seed(config.seed)
        super().__init__(fabric, config, GlobalForecaster(config))
        self._windows = windows
        self._quantiles = fabric.to_device(torch.tensor(QUANTILES))

    def _plot(self, network: nn.Module) -> NDArray[np.uint8]:
        return plot_windows(self._windows, network, self._fabric.device)

    def _losses(self, batch: tuple[Tensor, ...]) -> Mapping[str, Tensor]:
        """Quantile losses and sMAPE of the median, both in shares of the series' size."""
        windows, facts, targets, weights = batch
        # Each member learns from its own part of the batch, so that their errors differ.
        apart = 1 < self._config.members <= len(windows)
        forecast: Tensor = self._network(windows, facts, apart=apart)
        error = (targets[..., None] - forecast) * weights[..., None]
        known = (weights > 0).float()
        total = known.sum().clamp(min=1)
        pinball = 2 * torch.maximum(self._quantiles * error, (self._quantiles - 1) * error).mean(dim=2)
        # Of a logarithm's error e, sMAPE is 2 tanh(|e| / 2) exactly.
        smape = 2 * torch.tanh(error[..., MIDDLE].abs() / 2)
        return {
            "quantile_loss": (pinball * known).sum() / total,
            "median_loss": self._config.median_weight * (smape * known).sum() / total,
        }


def make_learner(fabric: Fabric, config: ForecastConfig, data: ForecastData) -> tuple[ForecastLearner, GlobalWindows]:
    """Builds the network and the windows that it learns from."""
    windows = global_windows(config, data)
    return ForecastLearner(fabric, config, windows), windows
