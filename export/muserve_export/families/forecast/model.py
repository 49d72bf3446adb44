"""The network: a global LSTM with quantiles for all frequencies."""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import softplus

from muserve_export.families.forecast.config import ForecastConfig
from muserve_export.families.forecast.frequencies import FREQUENCIES, HORIZON_STEPS
from muserve_server.tasks.forecast.windows import CHANNELS, STATIC_FEATURES

__all__ = ["MIDDLE", "QUANTILES", "GlobalForecaster"]

QUANTILES = (0.025, 0.05, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.95, 0.975)
MIDDLE = QUANTILES.index(0.5)


class GlobalForecaster(nn.Module):
    """Several networks of one shape; the forecast is the mean of theirs.

    Direct multi-horizon quantiles from the last state of a stacked LSTM (Wen et al., "A Multi-Horizon Quantile
    Recurrent Forecaster", 2017), one set of weights for all series (Hewamalage et al., "Recurrent Neural Networks for
    Time Series Forecasting", 2021).
    """

    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        self.members = nn.ModuleList([_Member(config) for _ in range(config.members)])

    def forward(self, window: Tensor, facts: Tensor, *, apart: bool = False) -> Tensor:
        """Forecasts.

        Args:
            window: [batch, step, channel], as `muserve_server.tasks.forecast.windows` makes it.
            facts: [batch, fact].
            apart: In training: each member forecasts its own part of the batch.

        Returns:
            [batch, horizon, quantile], rising along the last: distances from the last level, in typical steps.
        """
        if apart:
            count = len(self.members)
            parts = zip(self.members, window.tensor_split(count), facts.tensor_split(count), strict=True)
            return torch.cat([member(part, described) for member, part, described in parts])
        forecasts = [member(window, facts) for member in self.members]
        return torch.stack(forecasts).mean(dim=0)


class _Member(nn.Module):
    """One LSTM with its head."""

    root_of_step: Tensor

    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        hidden, facts = config.hidden_size, STATIC_FEATURES + len(FREQUENCIES)
        self.lstm = nn.LSTM(CHANNELS + len(FREQUENCIES), hidden, config.layers, batch_first=True)
        self.dropout = nn.Dropout(config.dropout)
        last = nn.Linear(hidden, HORIZON_STEPS * len(QUANTILES))
        nn.init.normal_(last.weight, std=0.01)
        nn.init.zeros_(last.bias)
        self.head = nn.Sequential(nn.Linear(hidden + facts, hidden), nn.GELU(), last)
        # Uncertainty of a random walk grows with the root of the step.
        steps = torch.arange(1, HORIZON_STEPS + 1, dtype=torch.float32)
        self.register_buffer("root_of_step", torch.sqrt(steps)[None, :, None])

    def forward(self, window: Tensor, facts: Tensor) -> Tensor:
        frequency = facts[:, None, STATIC_FEATURES:].expand(-1, window.shape[1], -1)
        states, _ = self.lstm(torch.cat([window, frequency], dim=2))
        seen = torch.cat([self.dropout(states[:, -1]), facts], dim=1)
        raw = self.head(seen).reshape(-1, HORIZON_STEPS, len(QUANTILES))
        median = raw[..., MIDDLE : MIDDLE + 1] * self.root_of_step
        # Each quantile is a positive distance further out, so that none can cross.
        gaps = softplus(raw - 1) * 0.5 * self.root_of_step
        above = median + torch.cumsum(gaps[..., MIDDLE + 1 :], dim=2)
        below = median - torch.cumsum(gaps[..., :MIDDLE].flip(2), dim=2).flip(2)
        return torch.cat([below, median, above], dim=2)
