"""What the tests of forecasts share: series, requests, and the answers' numbers."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import forecast_pb2
from muserve_server.model import LocalModel
from tests.bundles import MONTHLY

__all__ = ["DAY_S", "MEAN", "MEDIAN", "NAN", "forecast", "request", "table", "walk"]

NAN = math.nan
MEDIAN, MEAN = forecast_pb2.POINT_FORECAST_MEDIAN, forecast_pb2.POINT_FORECAST_MEAN
DAY_S = 86400

Floats = NDArray[np.float64]


def walk(steps: int, seed: int = 0, *, positive: bool = True) -> list[float]:
    values = np.random.default_rng(seed).normal(0, 1, steps).cumsum()
    return list(100 * np.exp(values / 10) if positive else values - values[-10:].mean())


def request(*series: Sequence[float], horizon: int = 4, frequency: int = MONTHLY, **fields: Any) -> Any:
    made = forecast_pb2.ForecastRequest(horizon=horizon, frequency=frequency, **fields)  # type: ignore[arg-type]
    for index, values in enumerate(series):
        made.series.add(id=f"s{index}", values=values)
    return made


async def forecast(model: LocalModel, *series: Sequence[float], **fields: Any) -> forecast_pb2.SeriesForecast:
    answer = await model.answer(request(*series, **fields))
    found: forecast_pb2.SeriesForecast = answer.forecasts[0]
    return found


def table(found: forecast_pb2.SeriesForecast) -> Floats:
    """The quantiles: [step, level]."""
    return np.array([entry.values for entry in found.quantiles]).T
