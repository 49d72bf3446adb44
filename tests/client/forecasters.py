"""A tiny real forecast bundle whose answers are known beforehand: the last value, a slope, fixed distances."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from onnx import helper

from muserve.v1 import common_pb2, forecast_pb2, manifest_pb2
from tests.bundles import FLOAT32, describe_bundle, write_graph

__all__ = ["DIRECT_STEPS", "MAX_HORIZON", "MIN_POINTS", "drift_bundle"]

WINDOW_STEPS, DIRECT_STEPS, MAX_HORIZON, MIN_POINTS = 12, 6, 24, 3
LEVELS = (0.1, 0.5, 0.9)
CALENDAR = (
    forecast_pb2.FREQUENCY_YEARLY,
    forecast_pb2.FREQUENCY_QUARTERLY,
    forecast_pb2.FREQUENCY_MONTHLY,
    forecast_pb2.FREQUENCY_WEEKLY,
    forecast_pb2.FREQUENCY_DAILY,
    forecast_pb2.FREQUENCY_HOURLY,
)


def drift_bundle(
    root: Path, name: str = "drift", version: int = 1, *, frequencies: tuple[int, ...] = CALENDAR, slope: float = 1.0
) -> Path:
    """Writes a bundle under root/<name>/<version>: each step adds `slope` to the one before.

    The quantiles 0.1 and 0.9 lie n away from the median at step n of a run. The weekly frequency is experimental.
    """
    folder = root / name / str(version)
    (folder / "graphs").mkdir(parents=True)
    steps = np.arange(1, DIRECT_STEPS + 1, dtype=np.float32)
    spread = np.array([-1.0, 0.0, 1.0], np.float32)
    offsets = slope * steps[:, None] + steps[:, None] * spread  # [step, level]
    graph = write_graph(
        folder,
        "forecaster",
        [
            helper.make_node("Slice", ["window", "from", "to", "axis"], ["last"]),
            helper.make_node("Add", ["last", "offsets"], ["forecast"]),
        ],
        [("window", FLOAT32, [WINDOW_STEPS, 1])],
        [("forecast", FLOAT32, [DIRECT_STEPS, len(LEVELS)])],
        {
            "from": np.array([-1], np.int64),
            "to": np.array([WINDOW_STEPS], np.int64),
            "axis": np.array([1], np.int64),
            "offsets": offsets[None],
        },
        max_batch_rows=32,
    )
    settings = manifest_pb2.ForecastSettings(
        graph="forecaster",
        scaling=manifest_pb2.FORECAST_SCALING_NONE,
        window_steps=WINDOW_STEPS,
        horizon_steps=DIRECT_STEPS,
        quantiles=LEVELS,
        max_horizon=MAX_HORIZON,
        min_points=MIN_POINTS,
    )
    for frequency in frequencies:
        settings.frequencies.add(
            frequency=frequency,
            context_steps=WINDOW_STEPS,
            horizon_steps=DIRECT_STEPS,
            experimental=frequency == forecast_pb2.FREQUENCY_WEEKLY,
        )
    return describe_bundle(
        folder, [graph], "The last value, and a slope.", task=common_pb2.TASK_FORECAST, forecast=settings
    )
