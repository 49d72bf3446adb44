"""Checks forecast requests, puts their series on a grid and groups them by frequency."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muserve.bundle import Bundle
from muserve.v1 import forecast_pb2, manifest_pb2
from muserve_server.tasks.forecast.calendar import CalendarError, check_times, continue_times, infer_frequency, on_grid
from muserve_server.tasks.forecast.limits import ForecastLimits
from muserve_server.tasks.requests import Violations

__all__ = ["Group", "Plan", "Planner", "Series"]

_MAX_LEVELS = 99
_SHOWN_ID = 40
_POINTS = frozenset(forecast_pb2.PointForecast.values())
_FREQUENCIES = frozenset(forecast_pb2.Frequency.values())
_UNSPECIFIED = forecast_pb2.FREQUENCY_UNSPECIFIED
_OTHER = forecast_pb2.FREQUENCY_OTHER
_RELATIVE = manifest_pb2.FORECAST_SCALING_RELATIVE
_NONE = manifest_pb2.FORECAST_SCALING_NONE

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class Series:
    """One checked series."""

    position: int
    """Index in the request."""
    frequency: int
    """Index among the model's frequencies."""
    values: Floats
    """Values on the frequency's grid up to the last known one, NaN where missing, [step]."""
    gap: int
    """Missing steps at the end: they are forecast too, but not returned."""
    forecast_times_s: NDArray[np.int64] | None
    """Timestamps of the forecast steps, [horizon]; None without timestamps."""


@dataclass(frozen=True)
class Group:
    """The series of one frequency, forecast together."""

    settings: manifest_pb2.FrequencySettings
    frequency: int
    """Index among the model's frequencies."""
    series: Sequence[Series]
    past: Floats
    """Their newest values, [series, step]."""
    gaps: NDArray[np.int64]
    """[series]: steps to forecast before those that are returned."""
    is_log: Flags
    """[series]: whether all values are above 0 and the logarithm is taken. Decided once a request: the uncertainty of a
    roll-out accumulates on one scale, even after the values that forbid the logarithm leave the window."""


@dataclass(frozen=True)
class Plan:
    """A checked request."""

    horizon: int
    levels: tuple[float, ...]
    """Quantile levels in ascending order."""
    is_mean: bool
    non_negative: bool
    groups: Sequence[Group]


class Planner:
    """Checks the requests for one bundle."""

    def __init__(self, bundle: Bundle, limits: ForecastLimits) -> None:
        self._bundle = bundle
        self._limits = limits
        self._settings = bundle.manifest.forecast
        self._index: dict[int, int] = {
            entry.frequency: index for index, entry in enumerate(self._settings.frequencies) if entry.horizon_steps
        }
        self._names = ", ".join(forecast_pb2.Frequency.Name(frequency) for frequency in self._index)
        # Without scaling the graph sees the values themselves, as 32-bit floats.
        self._largest = float(np.finfo(np.float32 if self._settings.scaling == _NONE else np.float64).max)

    def plan(self, request: forecast_pb2.ForecastRequest) -> Plan:
        """Checks a request.

        Raises:
            InvalidRequestError: Names each wrong field.
        """
        violations = Violations()
        max_series = self._limits.max_series_per_call
        if not 1 <= len(request.series) <= max_series:
            violations.refuse("series", f"are {len(request.series)}; allowed: 1 up to {max_series} a call")
        if not 1 <= request.horizon <= self._settings.max_horizon:
            allowed = f"1 up to {self._settings.max_horizon}"
            violations.refuse("horizon", f"is {request.horizon}; allowed by {self._bundle}: {allowed}")
        if request.point not in _POINTS:
            violations.refuse("point", f"is {request.point}; allowed: {', '.join(forecast_pb2.PointForecast.keys())}")
        self._check_levels(request.quantiles, violations)
        self._check_frequency(request.frequency, "frequency", violations)
        if not violations:
            self._check_size(request, violations)
        series = (
            []
            if violations
            else [self._series(request, position, violations) for position in range(len(request.series))]
        )
        violations.check()
        return Plan(
            horizon=request.horizon,
            levels=tuple(sorted(request.quantiles)),
            is_mean=request.point == forecast_pb2.POINT_FORECAST_MEAN,
            non_negative=request.non_negative,
            groups=self._groups([entry for entry in series if entry]),
        )

    def _groups(self, series: Sequence[Series]) -> list[Group]:
        groups = []
        for index, settings in enumerate(self._settings.frequencies):
            members = [entry for entry in series if entry.frequency == index]
            if members:
                past = _align([entry.values for entry in members], settings.context_steps)
                is_log = np.all(~(past <= 0), axis=1) & (self._settings.scaling == _RELATIVE)
                gaps = np.array([entry.gap for entry in members])
                groups.append(Group(settings, index, members, past, gaps, is_log))
        return groups

    def _check_levels(self, levels: Sequence[float], violations: Violations) -> None:
        if len(levels) > _MAX_LEVELS:
            violations.refuse("quantiles", f"are {len(levels)}; allowed: up to {_MAX_LEVELS}")
            return
        if levels and not self._settings.quantiles:
            violations.refuse("quantiles", f"model {self._bundle} has no quantiles; leave them out")
        for index, level in enumerate(levels):
            if not 0.0 < level < 1.0:
                violations.refuse(f"quantiles[{index}]", f"is {level}; allowed: above 0 and below 1")
        if len(set(levels)) != len(levels):
            violations.refuse("quantiles", "name a level twice; name each once")

    def _check_size(self, request: forecast_pb2.ForecastRequest, violations: Violations) -> None:
        """Refuses a request whose answer would exceed the message limit, before anything is computed."""
        step_size = len(request.series) * (1 + len(request.quantiles)) + sum(
            1 for entry in request.series if entry.times_unix_s
        )
        size, max_size = request.horizon * step_size, self._limits.max_answer_values
        if size > max_size:
            requested = (
                f"{len(request.series)} series, a horizon of {request.horizon} and {len(request.quantiles)} quantiles"
            )
            text = f"are too many for one answer: {requested} make {size} values; allowed: up to {max_size}"
            violations.refuse("series", f"{text}; ask for less in one call")

    def _check_frequency(self, frequency: int, field: str, violations: Violations) -> None:
        if frequency != _UNSPECIFIED and frequency not in self._index:
            given = frequency if frequency not in _FREQUENCIES else forecast_pb2.Frequency.Name(frequency)
            violations.refuse(field, f"is {given}; {self._bundle} was trained for {self._names}")

    def _series(self, request: forecast_pb2.ForecastRequest, position: int, violations: Violations) -> Series | None:
        """Checks one series; None if something is wrong with it."""
        given = request.series[position]
        field = f"series[{position}]"
        called = f" (id {given.id[:_SHOWN_ID]!r})" if given.id else ""
        values, times_s = np.array(given.values, dtype=np.float64), np.array(given.times_unix_s, dtype=np.int64)
        before = len(violations)
        self._check_numbers(values, times_s, field, called, violations)
        self._check_frequency(given.frequency, f"{field}.frequency", violations)
        if len(violations) > before:
            return None
        forecast_times_s = None
        try:
            if len(times_s):
                check_times(times_s)
            frequency = self._frequency(given.frequency or request.frequency, times_s, field, called, violations)
            if not frequency:
                return None
            if len(times_s):
                values = _spread(values, on_grid(times_s, frequency), self._limits.max_points_per_series)
                forecast_times_s = continue_times(times_s, frequency, request.horizon)
        except CalendarError as error:
            violations.refuse(f"{field}.times_unix_s", f"{error}{called}")
            return None
        settings = self._settings.frequencies[self._index[frequency]]
        seen = np.count_nonzero(~np.isnan(values[-settings.context_steps :]))
        if seen < self._settings.min_points:
            needed = f"{self._settings.min_points} of the newest {settings.context_steps} steps must be present"
            violations.refuse(f"{field}.values", f"have {seen} that are not missing{called}; at least {needed}")
            return None
        known = int(np.flatnonzero(~np.isnan(values))[-1]) + 1
        return Series(position, self._index[frequency], values[:known], len(values) - known, forecast_times_s)

    def _check_numbers(
        self, values: Floats, times_s: NDArray[np.int64], field: str, called: str, violations: Violations
    ) -> None:
        """Checks how many values and timestamps there are, and that the model can take the values."""
        max_points = self._limits.max_points_per_series
        if len(values) > max_points:
            violations.refuse(f"{field}.values", f"are {len(values)}{called}; allowed: up to {max_points}")
        outside = np.flatnonzero(np.abs(values) > self._largest)
        if len(outside):
            where = int(outside[0])
            text = f"is infinite{called}; NaN stands for a missing value"
            if not np.isinf(values[where]):
                text = f"is {values[where]:g}{called}; {self._bundle} takes up to {self._largest:.2g} from 0"
            violations.refuse(f"{field}.values[{where}]", text)
        if len(times_s) not in (0, len(values)):
            text = f"are {len(times_s)} for {len(values)} values{called}; give one each, or none"
            violations.refuse(f"{field}.times_unix_s", text)

    def _frequency(
        self, requested: int, times_s: NDArray[np.int64], field: str, called: str, violations: Violations
    ) -> int:
        """Returns the requested frequency, or the one of the timestamps; 0 if there is none or the two disagree."""
        inferred = infer_frequency(times_s) if len(times_s) else None
        frequency = requested or self._choose(inferred)
        if not frequency:
            reason = "its timestamps fit none" if len(times_s) else "it has no timestamps to infer it from"
            text = f"is not set, and {reason}{called}; set one of {self._names}"
            violations.refuse(f"{field}.frequency", text)
        elif inferred not in (None, frequency) and frequency != _OTHER:  # OTHER is any even step
            name = forecast_pb2.Frequency.Name(frequency)
            other = f"{name} was requested" if requested else f"{self._bundle} was trained for {name} only"
            text = f"are {forecast_pb2.Frequency.Name(inferred)}, but {other}{called}"
            violations.refuse(f"{field}.times_unix_s", f"{text}; leave the frequency out" if requested else text)
            return 0
        return frequency

    def _choose(self, inferred: int | None) -> int:
        """Returns the frequency of a series that names none: the only one, or that of its timestamps; 0 if unknown."""
        if len(self._index) == 1:
            return int(next(iter(self._index)))
        return inferred if inferred in self._index else 0


def _align(series: Sequence[Floats], steps: int) -> Floats:
    """Stacks the newest steps of series; shorter ones start with missing values: [series, step]."""
    stacked = np.full((len(series), steps), np.nan)
    for row, values in enumerate(series):
        newest = values[-steps:]
        stacked[row, steps - len(newest) :] = newest
    return stacked


def _spread(values: Floats, grid: NDArray[np.int64], max_steps: int) -> Floats:
    """Puts values on their grid, NaN for missing steps.

    Raises:
        CalendarError: The grid is longer than a series may be.
    """
    steps = int(grid[-1]) + 1
    if steps == len(values):
        return values
    if steps > max_steps:
        raise CalendarError(f"span {steps} steps, most of them missing; allowed: up to {max_steps}")
    spread = np.full(steps, np.nan)
    spread[grid] = values
    return spread
