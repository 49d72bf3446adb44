"""The network of the usual first LSTM tutorial."""

from __future__ import annotations

from torch import Tensor, nn

from muserve_export.families.forecast.config import ForecastConfig

__all__ = ["NextValueForecaster"]


class NextValueForecaster(nn.Module):
    """The last state of a stacked LSTM to one number."""

    def __init__(self, config: ForecastConfig) -> None:
        super().__init__()
        self.lstm = nn.LSTM(1, config.hidden_size, config.layers, batch_first=True)
        self.head = nn.Linear(config.hidden_size, 1)

    def forward(self, window: Tensor) -> Tensor:
        """Forecasts the next value.

        Args:
            window: Plain values, [batch, step, 1].

        Returns:
            [batch, 1, 1].
        """
        states, _ = self.lstm(window)
        value: Tensor = self.head(states[:, -1])
        return value[:, None]
