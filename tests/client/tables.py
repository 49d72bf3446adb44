"""What the tests of pandas' forms share: forecasts from a real server, and what is sent to it."""

from __future__ import annotations

import math
from typing import Any

import pandas as pd

from muserve.v1 import forecast_pb2
from muserve_client import Client, Forecasts
from tests.client.conftest import Served
from tests.client.fakes import call, echo, fake_server

__all__ = ["days", "ds", "forecast", "sent", "values"]


def forecast(served: Served, series: Any, horizon: int = 2, **keywords: Any) -> Forecasts:
    found = call(Client, served.target, "forecast", series, horizon, **keywords)
    assert isinstance(found, Forecasts)
    return found


def ds(found: Forecasts) -> list[Any]:
    return list(found.to_frame()[found.columns.time])


def sent(series: Any, **keywords: Any) -> list[forecast_pb2.TimeSeries]:
    """The series as they go over the wire."""
    requests: list[forecast_pb2.ForecastRequest] = []

    def answer(request: forecast_pb2.ForecastRequest, *_: Any) -> forecast_pb2.ForecastResponse:
        requests.append(request)
        return echo(request)

    with fake_server(answer) as server:
        call(Client, server.target, "forecast", series, 1, **keywords)
    return [one for request in requests for one in request.series]


def values(series: forecast_pb2.TimeSeries) -> list[float | None]:
    return [None if math.isnan(value) else value for value in series.values]


def days(*texts: str, zone: str | None = None) -> list[pd.Timestamp]:
    return [pd.Timestamp(text, tz=zone) for text in texts]
