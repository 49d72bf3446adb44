"""Writes a run of the tutorial's network as a bundle of the forecast task."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_export.bundling import BundlePlan, GraphSource, tensor_spec
from muserve_export.families.forecast.config import SINE, ForecastConfig
from muserve_export.families.forecast.data import ForecastData
from muserve_export.families.forecast.export import (
    MAX_HORIZON,
    PARITY_TOLERANCE,
    golden_requests,
    make_manifest,
    plot_samples,
)
from muserve_export.families.forecast.frequencies import FREQUENCIES
from muserve_export.families.forecast_tutorial.model import NextValueForecaster
from muserve_export.training.trained import TrainedModel

__all__ = ["plan_bundle"]


def plan_bundle(trained: TrainedModel[ForecastConfig, ForecastData]) -> BundlePlan:
    """Plans a bundle of the forecast task: one network, which gives one value a run."""
    config, data = trained.config, trained.data
    return BundlePlan(
        manifest=_manifest(config, data),
        graphs=[_graph(trained.load(NextValueForecaster(config), "forecaster"), config)],
        goldens=golden_requests(config, data),
        samples=lambda model: plot_samples(model, data),
    )


def _manifest(config: ForecastConfig, data: ForecastData) -> manifest_pb2.ModelManifest:
    learnt = {
        series.frequency.name
        for series in data.series
        if config.data == SINE or len(series.training(config.hold_out)) > series.frequency.least_steps
    }
    settings = manifest_pb2.ForecastSettings(
        graph="forecaster",
        scaling=manifest_pb2.FORECAST_SCALING_NONE,
        window_steps=config.window_steps,
        horizon_steps=1,
        max_horizon=MAX_HORIZON,
        min_points=config.window_steps,
    )
    for frequency in FREQUENCIES:
        if frequency.name in learnt:
            settings.frequencies.add(
                frequency=frequency.number, context_steps=config.window_steps, horizon_steps=1, spread=1.0
            )
    description = f"Gives the next value after {config.window_steps}: an LSTM, rolled out step by step."
    return make_manifest(settings, description, config, data)


def _graph(network: NextValueForecaster, config: ForecastConfig) -> GraphSource:
    window = tensor_spec("window", [config.window_steps, 1], "values")

    def draw(rows: int, random: np.random.Generator) -> tuple[NDArray[Any], ...]:
        return (random.standard_normal((rows, *window.shape[1:])).astype(np.float32),)

    return GraphSource(
        role="forecaster",
        module=network,
        inputs=(window,),
        outputs=(tensor_spec("forecast", [1, 1], "values"),),
        draw=draw,
        max_batch_rows=256,
        tolerance=PARITY_TOLERANCE,
    )
