"""Answers Forecast: checks the series, makes windows, runs the forecaster as often as it must, restores the values."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.bundle import Bundle, ManifestError
from muserve.errors import FieldViolation, InvalidRequestError
from muserve.v1 import forecast_pb2, manifest_pb2
from muserve_server.tasks.base import Call, TaskLimits
from muserve_server.tasks.forecast.calendar import CalendarError, check_times, continue_times, infer_frequency, on_grid
from muserve_server.tasks.forecast.quantiles import at_levels, mean, widen
from muserve_server.tasks.forecast.windows import CHANNELS, FACTS, Windows, fill_gaps, make_windows, restore

__all__ = ["ForecastTask"]

_MAX_LEVELS = 99
_MAX_CONTEXT_STEPS = 10_000
_SHOWN_ID = 40
_LARGEST = float(np.finfo(np.float64).max) / 4
_LARGEST_LOG = math.log(_LARGEST)
_POINTS = frozenset(forecast_pb2.PointForecast.values())
_FREQUENCIES = frozenset(forecast_pb2.Frequency.values())
_UNSPECIFIED = forecast_pb2.FREQUENCY_UNSPECIFIED
_RELATIVE = manifest_pb2.FORECAST_SCALING_RELATIVE
_NONE = manifest_pb2.FORECAST_SCALING_NONE

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class _Series:
    """One checked series."""

    position: int
    """Index in the request."""
    frequency: int
    """Index among the model's frequencies."""
    values: Floats
    """On the frequency's grid, NaN where missing, [step]."""
    times_s: NDArray[np.int64] | None
    """On the same grid but for steps that are missing; None without timestamps."""


@dataclass(frozen=True)
class _Plan:
    """A checked request."""

    horizon: int
    levels: tuple[float, ...]
    """Rising."""
    is_mean: bool
    non_negative: bool
    series: Sequence[_Series]


@dataclass(frozen=True)
class _Group:
    """The series of one frequency, forecast together."""

    settings: manifest_pb2.FrequencySettings
    frequency: int
    series: Sequence[_Series]


@dataclass(frozen=True)
class _Forecast:
    """What the model says of one group's series."""

    quantiles: Floats
    """[series, step, level of the model]; one level without quantiles."""
    direct_steps: int


class ForecastTask:
    """The forecast task of one bundle."""

    def __init__(self, bundle: Bundle, limits: TaskLimits) -> None:
        """Checks that the manifest's forecast settings fit its graphs.

        Raises:
            ManifestError: They do not.
        """
        self._bundle = bundle
        self._limits = limits
        self._settings = bundle.manifest.forecast
        _check_settings(bundle)
        self._index: dict[int, int] = {
            entry.frequency: index for index, entry in enumerate(self._settings.frequencies) if entry.horizon_steps
        }
        self._names = ", ".join(forecast_pb2.Frequency.Name(frequency) for frequency in self._index)
        self._known = tuple(self._settings.quantiles)
        self._middle = self._known.index(0.5) if self._known else 0

    async def run(self, request: forecast_pb2.ForecastRequest, call: Call) -> forecast_pb2.ForecastResponse:
        """Continues the series; see `Task.run`."""
        plan = await call.offload(self._plan, request)
        groups = [
            _Group(entry, index, [series for series in plan.series if series.frequency == index])
            for index, entry in enumerate(self._settings.frequencies)
        ]
        forecasts = [(group, await self._forecast(group, plan.horizon, call)) for group in groups if group.series]
        return await call.offload(self._answer, request, plan, forecasts)

    async def _forecast(self, group: _Group, horizon: int, call: Call) -> _Forecast:
        """Runs the graph over a group, again and again on its own medians where the horizon is longer than its own."""
        direct = group.settings.horizon_steps
        past = _align([series.values for series in group.series], group.settings.context_steps)
        blocks: list[Floats] = []
        before: Floats | None = None
        for done in range(0, horizon, direct):
            rows, windows = await call.offload(self._rows, past, group)
            outputs = await call.infer(self._settings.graph, rows)
            quantiles, before = await call.offload(self._restore, outputs["forecast"], windows, group.settings, before)
            blocks.append(quantiles)
            if done + direct < horizon:
                past = np.concatenate([past, quantiles[:, :, self._middle]], axis=1)[:, direct:]
        return _Forecast(np.concatenate(blocks, axis=1)[:, :horizon], min(direct, horizon))

    def _rows(self, past: Floats, group: _Group) -> tuple[dict[str, NDArray[Any]], Windows | None]:
        settings = self._settings
        if settings.scaling == _NONE:
            filled, _ = fill_gaps(past[:, -settings.window_steps :])
            return {"window": filled[:, :, None].astype(np.float32)}, None
        windows = make_windows(
            past,
            periods=group.settings.periods,
            window_steps=settings.window_steps,
            horizon_steps=settings.horizon_steps,
            frequency=group.frequency,
            frequencies=len(settings.frequencies),
        )
        return {"window": windows.window, "facts": windows.facts}, windows

    def _restore(
        self,
        forecast: NDArray[np.float32],
        windows: Windows | None,
        frequency: manifest_pb2.FrequencySettings,
        before: Floats | None,
    ) -> tuple[Floats, Floats]:
        """Returns the values of one run, and how far its last step's quantiles are from the median."""
        if not np.isfinite(forecast).all():
            raise ValueError(f"graph {self._settings.graph!r} of {self._bundle} gave values that are no numbers")
        forecast = forecast[:, : frequency.horizon_steps]
        if windows is None:
            values = forecast.astype(np.float64)
            return values, values[:, -1] * 0
        widened = widen(forecast.astype(np.float64), self._middle, frequency.spread or 1.0)
        values = restore(widened, windows)
        # Distances add up on the scale on which errors are alike: the logarithm's, where it was taken.
        is_log = windows.is_log[:, None, None]
        even = np.where(is_log, np.log(np.where(is_log, values, 1.0)), values)
        if before is not None:
            even = widen(even, self._middle, 1.0, before)
            restored = np.where(is_log, np.exp(np.minimum(even, _LARGEST_LOG)), np.clip(even, -_LARGEST, _LARGEST))
            values = np.maximum.accumulate(restored, axis=-1)
        last = even[:, -1]
        return values, last - last[:, self._middle : self._middle + 1]

    def _answer(
        self, request: forecast_pb2.ForecastRequest, plan: _Plan, forecasts: Sequence[tuple[_Group, _Forecast]]
    ) -> forecast_pb2.ForecastResponse:
        answers: dict[int, forecast_pb2.SeriesForecast] = {}
        for group, forecast in forecasts:
            quantiles = np.maximum(forecast.quantiles, 0.0) if plan.non_negative else forecast.quantiles
            point = quantiles[..., self._middle]
            if plan.is_mean and self._known:
                point = mean(quantiles, self._known)
            wanted = at_levels(quantiles, self._known, plan.levels) if plan.levels else quantiles[..., :0]
            if plan.non_negative:
                point, wanted = np.maximum(point, 0.0), np.maximum(wanted, 0.0)
            for row, series in enumerate(group.series):
                given = request.series[series.position]
                answer = forecast_pb2.SeriesForecast(
                    id=given.id,
                    frequency=group.settings.frequency,
                    point=point[row].tolist(),
                    direct_steps=forecast.direct_steps,
                    experimental=group.settings.experimental,
                )
                for index, level in enumerate(plan.levels):
                    answer.quantiles.add(level=level, values=wanted[row, :, index].tolist())
                if series.times_s is not None:
                    times_s = continue_times(series.times_s, group.settings.frequency, plan.horizon)
                    answer.times_unix_s.extend(times_s.tolist())
                answers[series.position] = answer
        return forecast_pb2.ForecastResponse(forecasts=[answers[position] for position in sorted(answers)])

    def _plan(self, request: forecast_pb2.ForecastRequest) -> _Plan:
        wrong: list[FieldViolation] = []
        most = self._limits.max_series_per_call
        if not 1 <= len(request.series) <= most:
            wrong.append(FieldViolation("series", f"are {len(request.series)}; allowed: 1 up to {most} a call"))
        if not 1 <= request.horizon <= self._settings.max_horizon:
            allowed = f"1 up to {self._settings.max_horizon}"
            wrong.append(FieldViolation("horizon", f"is {request.horizon}; allowed by {self._bundle}: {allowed}"))
        if request.point not in _POINTS:
            wrong.append(
                FieldViolation("point", f"is {request.point}; allowed: {', '.join(forecast_pb2.PointForecast.keys())}")
            )
        self._check_levels(request.quantiles, wrong)
        self._check_frequency(request.frequency, "frequency", wrong)
        series = [] if wrong else [self._series(request, position, wrong) for position in range(len(request.series))]
        if wrong:
            raise InvalidRequestError(violations=wrong)
        return _Plan(
            horizon=request.horizon,
            levels=tuple(sorted(request.quantiles)),
            is_mean=request.point == forecast_pb2.POINT_FORECAST_MEAN,
            non_negative=request.non_negative,
            series=[entry for entry in series if entry],
        )

    def _check_levels(self, levels: Sequence[float], wrong: list[FieldViolation]) -> None:
        if len(levels) > _MAX_LEVELS:
            wrong.append(FieldViolation("quantiles", f"are {len(levels)}; allowed: up to {_MAX_LEVELS}"))
            return
        if levels and not self._known:
            wrong.append(FieldViolation("quantiles", f"model {self._bundle} gives none; leave them out"))
        for index, level in enumerate(levels):
            if not 0.0 < level < 1.0:
                wrong.append(FieldViolation(f"quantiles[{index}]", f"is {level:g}; allowed: above 0 and below 1"))
        if len(set(levels)) != len(levels):
            wrong.append(FieldViolation("quantiles", "name a level twice"))

    def _check_frequency(self, frequency: int, field: str, wrong: list[FieldViolation]) -> None:
        if frequency != _UNSPECIFIED and frequency not in self._index:
            given = frequency if frequency not in _FREQUENCIES else forecast_pb2.Frequency.Name(frequency)
            wrong.append(FieldViolation(field, f"is {given}; {self._bundle} knows {self._names}"))

    def _series(
        self, request: forecast_pb2.ForecastRequest, position: int, wrong: list[FieldViolation]
    ) -> _Series | None:
        given = request.series[position]
        field = f"series[{position}]"
        called = f" (id {given.id[:_SHOWN_ID]!r})" if given.id else ""
        values, times_s = np.array(given.values, dtype=np.float64), np.array(given.times_unix_s, dtype=np.int64)
        before = len(wrong)
        most = self._limits.max_points_per_series
        if len(values) > most:
            wrong.append(FieldViolation(f"{field}.values", f"are {len(values)}{called}; allowed: up to {most}"))
        if np.isinf(values).any():
            where = int(np.flatnonzero(np.isinf(values))[0])
            wrong.append(
                FieldViolation(f"{field}.values[{where}]", f"is infinite{called}; NaN stands for a missing value")
            )
        if len(times_s) not in (0, len(values)):
            wrong.append(
                FieldViolation(
                    f"{field}.times_unix_s",
                    f"are {len(times_s)} for {len(values)} values{called}; give one each, or none",
                )
            )
        self._check_frequency(given.frequency, f"{field}.frequency", wrong)
        if len(wrong) > before:
            return None
        try:
            if len(times_s):
                check_times(times_s)
        except CalendarError as error:
            wrong.append(FieldViolation(f"{field}.times_unix_s", f"{error}{called}"))
            return None
        frequency = given.frequency or request.frequency or self._guess(times_s)
        if not frequency:
            tell = "its timestamps fit none" if len(times_s) else "it has no timestamps to tell"
            wrong.append(
                FieldViolation(f"{field}.frequency", f"is not set, and {tell}{called}; set one of {self._names}")
            )
            return None
        if len(times_s):
            try:
                values = _spread(values, on_grid(times_s, frequency), most)
            except CalendarError as error:
                wrong.append(FieldViolation(f"{field}.times_unix_s", f"{error}{called}"))
                return None
        settings = self._settings.frequencies[self._index[frequency]]
        seen = np.count_nonzero(~np.isnan(values[-settings.context_steps :]))
        if seen < self._settings.min_points:
            needed = f"at least {self._settings.min_points} of the newest {settings.context_steps} steps must be there"
            wrong.append(FieldViolation(f"{field}.values", f"have {seen} that are not missing{called}; {needed}"))
            return None
        return _Series(position, self._index[frequency], values, times_s if len(times_s) else None)

    def _guess(self, times_s: NDArray[np.int64]) -> int:
        """The frequency of a series that names none; 0 if it cannot be told."""
        if len(self._index) == 1:
            return int(next(iter(self._index)))
        inferred = infer_frequency(times_s) if len(times_s) else None
        return inferred if inferred in self._index else 0


def _align(series: Sequence[Floats], steps: int) -> Floats:
    """Stacks the newest steps of series, with missing values before those that are shorter: [series, step]."""
    stacked = np.full((len(series), steps), np.nan)
    for row, values in enumerate(series):
        newest = values[-steps:]
        stacked[row, steps - len(newest) :] = newest
    return stacked


def _spread(values: Floats, grid: NDArray[np.int64], most: int) -> Floats:
    """Puts values on their grid, NaN where a step was left out.

    Raises:
        CalendarError: The grid is longer than a series may be.
    """
    steps = int(grid[-1]) + 1
    if steps == len(values):
        return values
    if steps > most:
        raise CalendarError(f"span {steps} steps, most of them missing; allowed: up to {most}")
    spread = np.full(steps, np.nan)
    spread[grid] = values
    return spread


def _check_settings(bundle: Bundle) -> None:
    settings = bundle.manifest.forecast
    graph = next((graph for graph in bundle.manifest.graphs if graph.role == settings.graph), None)
    if graph is None:
        raise ManifestError(f"{bundle}: forecast.graph is {settings.graph!r}, which is no graph of the bundle")
    if settings.scaling not in (_NONE, _RELATIVE):
        raise ManifestError(f"{bundle}: forecast.scaling is {settings.scaling}, which this build does not know")
    relative = settings.scaling == _RELATIVE
    float32 = manifest_pb2.DATA_TYPE_FLOAT32
    inputs = {"window": (float32, [-1, settings.window_steps, CHANNELS if relative else 1])}
    if relative:
        inputs["facts"] = (float32, [-1, FACTS + len(settings.frequencies)])
    outputs = {"forecast": (float32, [-1, settings.horizon_steps, max(1, len(settings.quantiles))])}
    for side, specs, wanted in (("inputs", graph.inputs, inputs), ("outputs", graph.outputs, outputs)):
        found = {spec.name: (spec.dtype, list(spec.shape)) for spec in specs}
        if found != wanted:
            raise ManifestError(f"{bundle}: the forecast settings ask for the {side} {wanted}, the graph has {found}")
    levels = list(settings.quantiles)
    if levels and (
        levels != sorted(set(levels)) or 0.5 not in levels or len(levels) < 2 or not 0 < levels[0] < levels[-1] < 1
    ):
        raise ManifestError(f"{bundle}: forecast.quantiles are {levels}; they must rise within 0 … 1 and hold 0.5")
    if relative and not levels:
        raise ManifestError(f"{bundle}: forecast.quantiles are missing")
    if not 1 <= settings.min_points <= settings.window_steps or not settings.max_horizon:
        raise ManifestError(f"{bundle}: min_points must be 1 up to window_steps, and max_horizon at least 1")
    if not any(entry.horizon_steps for entry in settings.frequencies):
        raise ManifestError(f"{bundle}: forecast.frequencies has none that the graph was trained for")
    for entry in settings.frequencies:
        _check_frequency_settings(bundle, entry)


def _check_frequency_settings(bundle: Bundle, entry: manifest_pb2.FrequencySettings) -> None:
    settings = bundle.manifest.forecast
    if entry.frequency not in _FREQUENCIES or entry.frequency == _UNSPECIFIED:
        raise ManifestError(f"{bundle}: frequency {entry.frequency} is none that this build knows")
    name = forecast_pb2.Frequency.Name(entry.frequency)
    if [other.frequency for other in settings.frequencies].count(entry.frequency) != 1:
        raise ManifestError(f"{bundle}: {name} stands twice")
    if not settings.min_points <= entry.context_steps <= _MAX_CONTEXT_STEPS:
        raise ManifestError(f"{bundle}: {name}: context_steps is {entry.context_steps}")
    if any(not period or entry.context_steps % period for period in entry.periods):
        raise ManifestError(f"{bundle}: {name}: context_steps must be a multiple of each period")
    if entry.horizon_steps > settings.horizon_steps:
        raise ManifestError(f"{bundle}: {name}: horizon_steps must be at most {settings.horizon_steps}")
    if not (math.isfinite(entry.spread) and entry.spread >= 0):
        raise ManifestError(f"{bundle}: {name}: spread is {entry.spread}")
