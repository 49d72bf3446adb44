"""How models of forecasts are verified."""

from __future__ import annotations

import math

from muserve.v1 import forecast_pb2, manifest_pb2
from muserve_client.calls.forecast.flow import FORECAST
from muserve_client.calls.probes import MAX_OTHER_ITEMS, Answer, Probe, answer_of, copy_of

__all__ = ["PROBES"]

_DEFAULT_SERIES = 3
_MIN_VALUES = 48
_LEVELS = (0.1, 0.5, 0.9)


def _read(response: forecast_pb2.ForecastResponse) -> Answer:
    # Whole messages: every bit of every number, and what is said beside them.
    return answer_of(
        response,
        {
            f"series {index}": forecast.SerializeToString(deterministic=True)
            for index, forecast in enumerate(response.forecasts)
        },
    )


def _default_forecasts(manifest: manifest_pb2.ModelManifest) -> forecast_pb2.ForecastRequest:
    """Makes seasonal series of the first frequency that the model was trained on; goes a step beyond its horizon."""
    settings = manifest.forecast
    trained = (entry for entry in settings.frequencies if entry.horizon_steps)
    first = next(trained, manifest_pb2.FrequencySettings(horizon_steps=1))
    request = forecast_pb2.ForecastRequest(
        frequency=first.frequency,
        horizon=max(1, min(settings.max_horizon, first.horizon_steps + 1)),
        quantiles=_LEVELS if settings.quantiles else (),
    )
    for number in range(_DEFAULT_SERIES):
        period = 7 + 5 * number
        values = [
            100 + step / 3 + 20 * math.sin(2 * math.pi * step / period)
            for step in range(max(_MIN_VALUES, settings.min_points))
        ]
        request.series.add(id=f"season of {period}", values=values)
    return request


def _other_forecasts(request: forecast_pb2.ForecastRequest, index: int) -> forecast_pb2.ForecastRequest:
    """Makes another call of the same series, their values turned and scaled; what is missing stays missing."""
    other = copy_of(request)
    del other.series[:]
    for number in range(1 + index % MAX_OTHER_ITEMS):
        series = other.series.add()
        series.CopyFrom(request.series[number % len(request.series)])
        known = [value * (1 + index / 7) for value in series.values if not math.isnan(value)]
        turn = (index + number + 1) % max(1, len(known))
        turned = iter(known[turn:] + known[:turn])
        series.values[:] = [value if math.isnan(value) else next(turned) for value in series.values]
    return other


def _one_forecast(request: forecast_pb2.ForecastRequest, index: int) -> forecast_pb2.ForecastRequest:
    one = copy_of(request)
    del one.series[:]
    one.series.add().CopyFrom(request.series[index])
    return one


PROBES = (
    Probe(
        task="forecast",
        request=forecast_pb2.ForecastRequest,
        method=FORECAST,
        nouns=("series", "series", "numbers"),
        read=_read,
        default=_default_forecasts,
        other=_other_forecasts,
        alone=_one_forecast,
    ),
)
