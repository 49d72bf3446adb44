"""Writes a forecast run as a bundle of the forecast task."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import common_pb2, forecast_pb2, manifest_pb2
from muserve_export.bundling import BundlePlan, GraphSource, tensor_spec
from muserve_export.families.forecast.config import ForecastConfig
from muserve_export.families.forecast.data import ForecastData, Series
from muserve_export.families.forecast.frequencies import FREQUENCIES, HORIZON_STEPS
from muserve_export.families.forecast.model import QUANTILES, GlobalForecaster
from muserve_export.families.forecast.plots import Panel, plot_panels
from muserve_export.training.trained import TrainedModel
from muserve_server.model import LocalModel
from muserve_server.tasks.forecast.windows import CHANNELS, STATIC_FEATURES

__all__ = ["MAX_HORIZON", "PARITY_TOLERANCE", "golden_requests", "make_manifest", "plan_bundle", "plot_samples"]

_GOLDEN_TOLERANCE = 1e-4
PARITY_TOLERANCE = 1e-4
MAX_HORIZON = 240
_MIN_POINTS = 3
_PANELS_EACH = 2
_SHOWN_STEPS = 60
_ROLLED_OUT_STEPS = 100


def plan_bundle(trained: TrainedModel[ForecastConfig, ForecastData]) -> BundlePlan:
    """Plans a bundle of the forecast task: one network."""
    config, data = trained.config, trained.data
    return BundlePlan(
        manifest=_manifest(config, data),
        graphs=[_graph(trained.load(GlobalForecaster(config), "forecaster"), config)],
        goldens=golden_requests(config, data, quantiles=(0.1, 0.5, 0.9)),
        samples=lambda model: plot_samples(model, data),
    )


def make_manifest(
    settings: manifest_pb2.ForecastSettings, description: str, config: ForecastConfig, data: ForecastData
) -> manifest_pb2.ModelManifest:
    """Makes a manifest of the forecast task."""
    return manifest_pb2.ModelManifest(
        task=common_pb2.TASK_FORECAST,
        description=description,
        training_data=data.sources,
        licence="LicenseRef-owner" if config.has_own_data else "Apache-2.0",
        forecast=settings,
    )


def _manifest(config: ForecastConfig, data: ForecastData) -> manifest_pb2.ModelManifest:
    learnt = {
        series.frequency.name
        for series in data.series
        if len(series.training(config.hold_out)) > series.frequency.least_steps
    }
    if not config.data and config.synthetic_series:
        learnt |= {frequency.name for frequency in FREQUENCIES if frequency.experimental}
    settings = manifest_pb2.ForecastSettings(
        graph="forecaster",
        scaling=manifest_pb2.FORECAST_SCALING_RELATIVE,
        window_steps=config.window_steps,
        horizon_steps=HORIZON_STEPS,
        quantiles=QUANTILES,
        max_horizon=MAX_HORIZON,
        min_points=_MIN_POINTS,
    )
    for frequency in FREQUENCIES:
        settings.frequencies.add(
            frequency=frequency.number,
            periods=frequency.periods,
            context_steps=frequency.context_steps,
            horizon_steps=frequency.horizon_steps if frequency.name in learnt else 0,
            experimental=frequency.experimental and not config.data,
            spread=config.spreads[frequency.index] if config.spreads and not config.data else 1.0,
        )
    description = f"Continues {', '.join(sorted(learnt))} series with quantiles: a global LSTM."
    return make_manifest(settings, description, config, data)


def _graph(network: GlobalForecaster, config: ForecastConfig) -> GraphSource:
    window = tensor_spec("window", [config.window_steps, CHANNELS], "typical steps")
    facts = tensor_spec("facts", [STATIC_FEATURES + len(FREQUENCIES)], "facts")
    forecast = tensor_spec("forecast", [HORIZON_STEPS, len(QUANTILES)], "typical steps from the last level")

    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[Any], ...]:
        drawn = random.standard_normal((rows, *window.shape[1:])).astype(np.float32)
        described = np.zeros((rows, STATIC_FEATURES + len(FREQUENCIES)), dtype=np.float32)
        described[:, :STATIC_FEATURES] = random.standard_normal((rows, STATIC_FEATURES))
        described[np.arange(rows), STATIC_FEATURES + random.integers(0, len(FREQUENCIES), rows)] = 1
        return drawn, described

    return GraphSource(
        role="forecaster",
        module=network,
        inputs=(window, facts),
        outputs=(forecast,),
        draw=draw,
        max_batch_rows=256,
        tolerance=PARITY_TOLERANCE,
    )


def golden_requests(
    config: ForecastConfig, data: ForecastData, *, quantiles: Sequence[float] = ()
) -> list[manifest_pb2.GoldenRequest]:
    """Makes series with all that can be there: seasons, gaps, values below zero, roll-out."""
    frequencies = list(dict.fromkeys(series.frequency.number for series in data.series))[:3]
    steps = np.arange(max(60, config.window_steps + 10))
    season = 100 + steps + 20 * np.sin(steps * np.pi / 6)
    gaps = season.copy()
    gaps[5:8] = np.nan  # before the window of a network that needs all of it
    request = forecast_pb2.ForecastRequest(horizon=8)
    request.series.add(id="season", values=season, frequency=frequencies[0])
    request.series.add(id="gaps", values=gaps, frequency=frequencies[-1])
    request.series.add(id="signs", values=np.cos(steps * 0.7) * 5, frequency=frequencies[0])
    longer = forecast_pb2.ForecastRequest(horizon=40, series=[request.series[0]])
    request.quantiles.extend(quantiles)
    return [
        manifest_pb2.GoldenRequest(name=name, tolerance=_GOLDEN_TOLERANCE, forecast=golden)
        for name, golden in (("mixed", request), ("rolled_out", longer))
    ]


async def plot_samples(model: LocalModel, data: ForecastData) -> Mapping[str, bytes]:
    """Plots the first and the middle series of each frequency, uncurated, with what came."""
    panels: list[Panel] = []
    for frequency in FREQUENCIES:
        members = [series for series in data.series if series.frequency is frequency and _can_show(model, series)]
        shown = members[:: max(1, len(members) // _PANELS_EACH)][:_PANELS_EACH]
        panels += [await _panel(model, series) for series in shown]
    if not panels:
        return {}
    buffer = io.BytesIO()
    plot_panels(panels).savefig(buffer, format="png", dpi=90)
    return {"forecasts.png": buffer.getvalue()}


def _can_show(model: LocalModel, series: Series) -> bool:
    """Whether the model takes the series as far as it is known, and something came after."""
    settings = model.bundle.manifest.forecast
    return any(series.known_before(origin) >= settings.min_points for origin in series.origins("test"))


async def _panel(model: LocalModel, series: Series) -> Panel:
    origin, horizon = series.origins("test")[0], series.frequency.horizon_steps
    if not model.bundle.manifest.forecast.quantiles:  # one value a run: what roll-out makes of it is worth seeing
        horizon = min(_ROLLED_OUT_STEPS, len(series.values) // 2)
        origin = len(series.values) - horizon
    request = forecast_pb2.ForecastRequest(horizon=horizon)
    newest = max(series.frequency.context_steps, model.bundle.manifest.forecast.window_steps)
    request.series.add(values=series.values[:origin][-newest:], frequency=series.frequency.number)
    if model.bundle.manifest.forecast.quantiles:
        request.quantiles.extend((0.1, 0.9))
    answer = (await model.answer(request)).forecasts[0]
    lower, upper = (entry.values for entry in answer.quantiles) if answer.quantiles else (answer.point, answer.point)
    band = np.stack([np.array(lower), np.array(answer.point), np.array(upper)], axis=1)
    shown = min(origin, _SHOWN_STEPS)
    return (
        f"{series.name}, {series.frequency.name}",
        series.values[origin - shown : origin],
        series.values[origin : origin + horizon],
        band,
    )
