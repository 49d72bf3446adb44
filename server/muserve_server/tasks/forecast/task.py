"""Serves Forecast: makes windows of the series, runs the forecaster, rolls out long horizons, restores values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.bundle import Bundle
from muserve.v1 import forecast_pb2, manifest_pb2
from muserve_server.tasks.forecast.limits import ForecastLimits
from muserve_server.tasks.forecast.quantiles import at_levels, mean, widen
from muserve_server.tasks.forecast.requests import Group, Plan, Planner
from muserve_server.tasks.forecast.validate import check_settings
from muserve_server.tasks.forecast.windows import (
    LARGEST,
    LEAST,
    Windows,
    fill_gaps,
    make_windows,
    restore,
)
from muserve_server.tasks.kind import Call, Handler

__all__ = ["ForecastTask"]

_MIN_LOG, _LARGEST_LOG = math.log(LEAST), math.log(LARGEST)
_NONE = manifest_pb2.FORECAST_SCALING_NONE

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


class ForecastTask:
    """The forecast task of one bundle."""

    def __init__(self, bundle: Bundle, limits: ForecastLimits) -> None:
        """Checks that the manifest's forecast settings fit its graphs.

        Raises:
            ManifestError: They do not.
        """
        self._bundle = bundle
        self._settings = bundle.manifest.forecast
        check_settings(bundle)
        self._known = tuple(self._settings.quantiles)
        self._middle = self._known.index(0.5) if self._known else 0
        self._planner = Planner(bundle, limits)

    def handlers(self) -> Mapping[str, Handler]:
        """Returns the one handler; see `Task`."""
        return {"Forecast": self._handle}

    async def _handle(self, request: forecast_pb2.ForecastRequest, call: Call) -> forecast_pb2.ForecastResponse:
        plan = await call.offload(self._planner.plan, request)
        forecasts = [await self._forecast(group, plan.horizon + int(group.gaps.max()), call) for group in plan.groups]
        return await call.offload(self._answer, request, plan, forecasts)

    async def _forecast(self, group: Group, horizon: int, call: Call) -> list[Floats]:
        """Runs the graph over a group; rolls out on its own medians where the horizon is longer than the graph's.

        Returns:
            One block a run, each [series, step, level of the model]; one level without quantiles.
        """
        direct = group.settings.horizon_steps
        past, blocks = group.past, list[Floats]()
        before: Floats | None = None
        for _ in range(0, horizon, direct):
            rows, windows, past = await call.offload(self._rows, past, blocks[-1:], group)
            outputs = await call.infer(self._settings.graph, rows)
            quantiles, before = await call.offload(self._restore, outputs["forecast"], windows, group, before)
            blocks.append(quantiles)
        return blocks

    def _rows(
        self, past: Floats, blocks: Sequence[Floats], group: Group
    ) -> tuple[dict[str, NDArray[Any]], Windows | None, Floats]:
        """Appends the last run's medians to the past; returns the inputs of the graph and the new past."""
        settings = self._settings
        for quantiles in blocks:
            past = np.concatenate([past, quantiles[:, :, self._middle]], axis=1)[:, quantiles.shape[1] :]
        if settings.scaling == _NONE:
            filled, _ = fill_gaps(past)
            return {"window": filled[:, -settings.window_steps :, None].astype(np.float32)}, None, past
        windows = make_windows(
            past,
            periods=group.settings.periods,
            window_steps=settings.window_steps,
            horizon_steps=settings.horizon_steps,
            frequency=group.frequency,
            frequencies=len(settings.frequencies),
            linear=~group.is_log,
        )
        return {"window": windows.window, "facts": windows.static_features}, windows, past

    def _restore(
        self, forecast: NDArray[np.float32], windows: Windows | None, group: Group, before: Floats | None
    ) -> tuple[Floats, Floats]:
        """Returns the values of one run, and the distances of its last step's quantiles from the median."""
        if not np.isfinite(forecast).all():
            raise ValueError(f"graph {self._settings.graph!r} of {self._bundle} returned NaN or infinity")
        known = forecast[:, : group.settings.horizon_steps].astype(np.float64)
        values = widen(known, self._middle, group.settings.spread or 1.0)
        if not windows:
            return _add_uncertainty(values, group.is_log, self._middle, before)
        return _add_uncertainty(restore(values, windows), windows.is_log, self._middle, before)

    def _answer(
        self, request: forecast_pb2.ForecastRequest, plan: Plan, forecasts: Sequence[Sequence[Floats]]
    ) -> forecast_pb2.ForecastResponse:
        answers: dict[int, forecast_pb2.SeriesForecast] = {}
        for group, blocks in zip(plan.groups, forecasts, strict=True):
            steps = group.gaps[:, None] + np.arange(plan.horizon)
            quantiles = np.take_along_axis(np.concatenate(blocks, axis=1), steps[:, :, None], axis=1)
            direct = group.settings.horizon_steps
            point, requested = self._numbers(plan, quantiles, group.is_log)
            if not (np.isfinite(point).all() and np.isfinite(requested).all()):
                raise ValueError(f"{self._bundle}: a forecast is NaN or infinity")
            for row, series in enumerate(group.series):
                answer = forecast_pb2.SeriesForecast(
                    id=request.series[series.position].id,
                    frequency=group.settings.frequency,
                    point=point[row].tolist(),
                    direct_steps=min(max(direct - series.gap, 0), plan.horizon),
                    experimental=group.settings.experimental,
                )
                for index, level in enumerate(plan.levels):
                    answer.quantiles.add(level=level, values=requested[row, :, index].tolist())
                if series.forecast_times_s is not None:
                    answer.times_unix_s.extend(series.forecast_times_s.tolist())
                answers[series.position] = answer
        return forecast_pb2.ForecastResponse(forecasts=[answers[position] for position in sorted(answers)])

    def _numbers(self, plan: Plan, quantiles: Floats, is_log: Flags) -> tuple[Floats, Floats]:
        """Returns the point forecast, [series, step], and the requested quantiles, [series, step, requested level]."""
        point = quantiles[..., self._middle]
        if plan.is_mean and self._known:
            # The mean of clipped quantiles; quantiles are clipped last, so that interpolation keeps their slopes.
            point = mean(np.maximum(quantiles, 0.0) if plan.non_negative else quantiles, self._known)
            point = np.where(is_log[:, None], np.maximum(point, LEAST), point)
        requested = quantiles[..., :0]
        if plan.levels:
            requested = at_levels(quantiles, self._known, plan.levels, above_zero=is_log)
        if plan.non_negative:
            return np.maximum(point, 0.0), np.maximum(requested, 0.0)
        return point, requested


def _add_uncertainty(quantiles: Floats, is_log: Flags, middle: int, before: Floats | None) -> tuple[Floats, Floats]:
    """Adds the uncertainty at the end of the previous run; distances accumulate on the scale of the errors.

    Returns:
        The quantiles, and the distances of the last step's quantiles from the median, on that scale.
    """
    chosen = is_log[:, None, None]
    needed = quantiles[:, -1:] if before is None else quantiles
    even = np.where(chosen, np.log(np.where(chosen, needed, 1.0)), needed)
    if before is not None:
        even = widen(even, middle, 1.0, before)
        even = np.clip(even, np.where(chosen, _MIN_LOG, -LARGEST), np.where(chosen, _LARGEST_LOG, LARGEST))
        plain = np.where(chosen, np.maximum(np.exp(np.where(chosen, even, 0.0)), LEAST), even)
        plain = np.where(before[:, None, :] == 0, quantiles, plain)  # the median too: no logarithm there and back
        plain[..., :middle] = np.minimum(plain[..., :middle], plain[..., middle : middle + 1])
        quantiles = np.maximum.accumulate(plain, axis=-1)
    last = even[:, -1]
    return quantiles, last - last[:, middle : middle + 1]
