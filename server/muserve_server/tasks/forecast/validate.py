"""Whether a manifest's forecast settings can be served: checked when a bundle is opened."""

from __future__ import annotations

import math

from muserve.bundle import Bundle, ManifestError
from muserve.v1 import forecast_pb2, manifest_pb2
from muserve_server.tasks.forecast.windows import CHANNELS, STATIC_FEATURES
from muserve_server.tasks.graphs import find_graph

__all__ = ["check_settings"]

_MAX_CONTEXT_STEPS = 10_000
_RELATIVE = manifest_pb2.FORECAST_SCALING_RELATIVE
_NONE = manifest_pb2.FORECAST_SCALING_NONE
_FREQUENCIES = frozenset(forecast_pb2.Frequency.values()) - {forecast_pb2.FREQUENCY_UNSPECIFIED}


def check_settings(bundle: Bundle) -> None:
    """Checks that forecast settings agree with themselves and with the bundle's graphs.

    Raises:
        ManifestError: They do not; the text names the field.
    """
    settings = bundle.manifest.forecast
    graph = find_graph(bundle, "forecast.graph", settings.graph)
    if settings.scaling not in (_NONE, _RELATIVE):
        raise ManifestError(f"{bundle}: forecast.scaling is {settings.scaling}, which this build does not know")
    relative = settings.scaling == _RELATIVE
    float32 = manifest_pb2.DATA_TYPE_FLOAT32
    inputs = {"window": (float32, [-1, settings.window_steps, CHANNELS if relative else 1])}
    if relative:
        inputs["facts"] = (float32, [-1, STATIC_FEATURES + len(settings.frequencies)])
    outputs = {"forecast": (float32, [-1, settings.horizon_steps, max(1, len(settings.quantiles))])}
    for side, specs, expected in (("inputs", graph.inputs, inputs), ("outputs", graph.outputs, outputs)):
        actual = {spec.name: (spec.dtype, list(spec.shape)) for spec in specs}
        if actual != expected:
            raise ManifestError(f"{bundle}: the forecast settings need the {side} {expected}, the graph has {actual}")
    levels = list(settings.quantiles)
    if levels and (
        levels != sorted(set(levels))
        or 0.5 not in levels
        or len(levels) < 2
        or not all(0 < level < 1 for level in levels)
    ):
        raise ManifestError(f"{bundle}: forecast.quantiles are {levels}; they must rise within 0 … 1 and include 0.5")
    if relative and not levels:
        raise ManifestError(f"{bundle}: forecast.quantiles are missing")
    if not 1 <= settings.min_points <= settings.window_steps or not settings.max_horizon:
        raise ManifestError(f"{bundle}: min_points must be 1 up to window_steps, and max_horizon at least 1")
    if not any(entry.horizon_steps for entry in settings.frequencies):
        raise ManifestError(f"{bundle}: forecast.frequencies has none that the graph was trained for")
    for entry in settings.frequencies:
        _check_frequency(bundle, entry)


def _check_frequency(bundle: Bundle, entry: manifest_pb2.FrequencySettings) -> None:
    settings = bundle.manifest.forecast
    if entry.frequency not in _FREQUENCIES:
        raise ManifestError(f"{bundle}: frequency {entry.frequency} is unknown to this build")
    name = forecast_pb2.Frequency.Name(entry.frequency)
    if [other.frequency for other in settings.frequencies].count(entry.frequency) != 1:
        raise ManifestError(f"{bundle}: {name} is listed twice")
    minimum = settings.window_steps if settings.scaling == _NONE else settings.min_points
    if not minimum <= entry.context_steps <= _MAX_CONTEXT_STEPS:
        raise ManifestError(
            f"{bundle}: {name}: context_steps is {entry.context_steps}; allowed: {minimum} up to {_MAX_CONTEXT_STEPS}"
        )
    if any(not period or entry.context_steps % period for period in entry.periods):
        raise ManifestError(f"{bundle}: {name}: context_steps must be a multiple of each period")
    if entry.horizon_steps > settings.horizon_steps:
        raise ManifestError(f"{bundle}: {name}: horizon_steps must be at most {settings.horizon_steps}")
    if not (math.isfinite(entry.spread) and entry.spread >= 0):
        raise ManifestError(f"{bundle}: {name}: spread is {entry.spread}; it must be finite, 0 or more")
