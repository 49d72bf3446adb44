"""Answers Forecast: checks the series, makes windows, runs the forecaster as often as it must, restores the values."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.bundle import Bundle
from muserve.v1 import forecast_pb2, manifest_pb2
from muserve_server.tasks.forecast.calendar import CalendarError, check_times, continue_times, infer_frequency, on_grid
from muserve_server.tasks.forecast.limits import ForecastLimits
from muserve_server.tasks.forecast.quantiles import at_levels, mean, widen
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
from muserve_server.tasks.requests import Violations

__all__ = ["ForecastTask"]

_MAX_LEVELS = 99
_SHOWN_ID = 40
_MIN_LOG, _LARGEST_LOG = math.log(LEAST), math.log(LARGEST)
_POINTS = frozenset(forecast_pb2.PointForecast.values())
_FREQUENCIES = frozenset(forecast_pb2.Frequency.values())
_UNSPECIFIED = forecast_pb2.FREQUENCY_UNSPECIFIED
_OTHER = forecast_pb2.FREQUENCY_OTHER
_RELATIVE = manifest_pb2.FORECAST_SCALING_RELATIVE
_NONE = manifest_pb2.FORECAST_SCALING_NONE

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]


@dataclass(frozen=True)
class _Series:
    """One checked series."""

    position: int
    """Index in the request."""
    frequency: int
    """Index among the model's frequencies."""
    values: Floats
    """On the frequency's grid up to the last that is known, NaN where missing, [step]."""
    gap: int
    """Missing steps after these: they are forecast too, but not returned."""
    coming_s: NDArray[np.int64] | None
    """Times of the steps to come, [horizon]; None without timestamps."""


@dataclass(frozen=True)
class _Group:
    """The series of one frequency, forecast together."""

    settings: manifest_pb2.FrequencySettings
    frequency: int
    """Index among the model's frequencies."""
    series: Sequence[_Series]
    past: Floats
    """Their newest values, [series, step]."""
    gaps: NDArray[np.int64]
    """[series]: steps to forecast before those that are returned."""
    is_log: Flags
    """[series]: whether all of these are above 0 and the logarithm is taken. Decided once a request: the doubts of a
    roll-out add up on one scale, also when the values that forbid the logarithm are out of sight."""


@dataclass(frozen=True)
class _Plan:
    """A checked request."""

    horizon: int
    levels: tuple[float, ...]
    """Rising."""
    is_mean: bool
    non_negative: bool
    groups: Sequence[_Group]


class ForecastTask:
    """The forecast task of one bundle."""

    def __init__(self, bundle: Bundle, limits: ForecastLimits) -> None:
        """Checks that the manifest's forecast settings fit its graphs.

        Raises:
            ManifestError: They do not.
        """
        self._bundle = bundle
        self._limits = limits
        self._settings = bundle.manifest.forecast
        check_settings(bundle)
        self._index: dict[int, int] = {
            entry.frequency: index for index, entry in enumerate(self._settings.frequencies) if entry.horizon_steps
        }
        self._names = ", ".join(forecast_pb2.Frequency.Name(frequency) for frequency in self._index)
        self._known = tuple(self._settings.quantiles)
        self._middle = self._known.index(0.5) if self._known else 0
        # Without scaling the graph sees the values themselves, as 32-bit floats.
        self._largest = float(np.finfo(np.float32 if self._settings.scaling == _NONE else np.float64).max)

    def handlers(self) -> Mapping[str, Handler]:
        """Returns the one handler; see `Task`."""
        return {"Forecast": self._handle}

    async def _handle(self, request: forecast_pb2.ForecastRequest, call: Call) -> forecast_pb2.ForecastResponse:
        plan = await call.offload(self._plan, request)
        forecasts = [await self._forecast(group, plan.horizon + int(group.gaps.max()), call) for group in plan.groups]
        return await call.offload(self._answer, request, plan, forecasts)

    async def _forecast(self, group: _Group, horizon: int, call: Call) -> list[Floats]:
        """Runs the graph over a group, again and again on its own medians where the horizon is longer than its own.

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
        self, past: Floats, blocks: Sequence[Floats], group: _Group
    ) -> tuple[dict[str, NDArray[Any]], Windows | None, Floats]:
        """Lets the last run's medians, if there was one, follow the past; returns the graph's inputs and this past."""
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
        return {"window": windows.window, "facts": windows.facts}, windows, past

    def _restore(
        self, forecast: NDArray[np.float32], windows: Windows | None, group: _Group, before: Floats | None
    ) -> tuple[Floats, Floats]:
        """Returns the values of one run, and how far its last step's quantiles are from the median."""
        if not np.isfinite(forecast).all():
            raise ValueError(f"graph {self._settings.graph!r} of {self._bundle} returned NaN or infinity")
        known = forecast[:, : group.settings.horizon_steps].astype(np.float64)
        values = widen(known, self._middle, group.settings.spread or 1.0)
        if not windows:
            return _add_uncertainty(values, group.is_log, self._middle, before)
        return _add_uncertainty(restore(values, windows), windows.is_log, self._middle, before)

    def _answer(
        self, request: forecast_pb2.ForecastRequest, plan: _Plan, forecasts: Sequence[Sequence[Floats]]
    ) -> forecast_pb2.ForecastResponse:
        answers: dict[int, forecast_pb2.SeriesForecast] = {}
        for group, blocks in zip(plan.groups, forecasts, strict=True):
            steps = group.gaps[:, None] + np.arange(plan.horizon)
            quantiles = np.take_along_axis(np.concatenate(blocks, axis=1), steps[:, :, None], axis=1)
            direct = group.settings.horizon_steps
            point, expected = self._numbers(plan, quantiles, group.is_log)
            if not (np.isfinite(point).all() and np.isfinite(expected).all()):
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
                    answer.quantiles.add(level=level, values=expected[row, :, index].tolist())
                if series.coming_s is not None:
                    answer.times_unix_s.extend(series.coming_s.tolist())
                answers[series.position] = answer
        return forecast_pb2.ForecastResponse(forecasts=[answers[position] for position in sorted(answers)])

    def _numbers(self, plan: _Plan, quantiles: Floats, is_log: Flags) -> tuple[Floats, Floats]:
        """Returns the point forecast, [series, step], and the wanted quantiles, [series, step, wanted level]."""
        point = quantiles[..., self._middle]
        if plan.is_mean and self._known:
            # The mean of what cannot be negative; single quantiles are cut off at the end, so that slopes stay theirs.
            point = mean(np.maximum(quantiles, 0.0) if plan.non_negative else quantiles, self._known)
            point = np.where(is_log[:, None], np.maximum(point, LEAST), point)
        expected = quantiles[..., :0]
        if plan.levels:
            expected = at_levels(quantiles, self._known, plan.levels, above_zero=is_log)
        if plan.non_negative:
            return np.maximum(point, 0.0), np.maximum(expected, 0.0)
        return point, expected

    def _plan(self, request: forecast_pb2.ForecastRequest) -> _Plan:
        violations = Violations()
        most = self._limits.max_series_per_call
        if not 1 <= len(request.series) <= most:
            violations.refuse("series", f"are {len(request.series)}; allowed: 1 up to {most} a call")
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
        return _Plan(
            horizon=request.horizon,
            levels=tuple(sorted(request.quantiles)),
            is_mean=request.point == forecast_pb2.POINT_FORECAST_MEAN,
            non_negative=request.non_negative,
            groups=self._groups([entry for entry in series if entry]),
        )

    def _groups(self, series: Sequence[_Series]) -> list[_Group]:
        groups = []
        for index, settings in enumerate(self._settings.frequencies):
            members = [entry for entry in series if entry.frequency == index]
            if members:
                past = _align([entry.values for entry in members], settings.context_steps)
                is_log = np.all(~(past <= 0), axis=1) & (self._settings.scaling == _RELATIVE)
                gaps = np.array([entry.gap for entry in members])
                groups.append(_Group(settings, index, members, past, gaps, is_log))
        return groups

    def _check_levels(self, levels: Sequence[float], violations: Violations) -> None:
        if len(levels) > _MAX_LEVELS:
            violations.refuse("quantiles", f"are {len(levels)}; allowed: up to {_MAX_LEVELS}")
            return
        if levels and not self._known:
            violations.refuse("quantiles", f"model {self._bundle} gives none; leave them out")
        for index, level in enumerate(levels):
            if not 0.0 < level < 1.0:
                violations.refuse(f"quantiles[{index}]", f"is {level}; allowed: above 0 and below 1")
        if len(set(levels)) != len(levels):
            violations.refuse("quantiles", "name a level twice")

    def _check_size(self, request: forecast_pb2.ForecastRequest, violations: Violations) -> None:
        """Refuses what would make an answer larger than a message, before anything is computed."""
        a_step = len(request.series) * (1 + len(request.quantiles)) + sum(
            1 for entry in request.series if entry.times_unix_s
        )
        size, most = request.horizon * a_step, self._limits.max_answer_values
        if size > most:
            requested = (
                f"{len(request.series)} series, a horizon of {request.horizon} and {len(request.quantiles)} quantiles"
            )
            text = f"are too many for one answer: {requested} make {size} values; allowed: up to {most}"
            violations.refuse("series", f"{text}; ask for less in one call")

    def _check_frequency(self, frequency: int, field: str, violations: Violations) -> None:
        if frequency != _UNSPECIFIED and frequency not in self._index:
            given = frequency if frequency not in _FREQUENCIES else forecast_pb2.Frequency.Name(frequency)
            violations.refuse(field, f"is {given}; {self._bundle} knows {self._names}")

    def _series(self, request: forecast_pb2.ForecastRequest, position: int, violations: Violations) -> _Series | None:
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
        coming_s = None
        try:
            if len(times_s):
                check_times(times_s)
            frequency = self._frequency(given.frequency or request.frequency, times_s, field, called, violations)
            if not frequency:
                return None
            if len(times_s):
                values = _spread(values, on_grid(times_s, frequency), self._limits.max_points_per_series)
                coming_s = continue_times(times_s, frequency, request.horizon)
        except CalendarError as error:
            violations.refuse(f"{field}.times_unix_s", f"{error}{called}")
            return None
        settings = self._settings.frequencies[self._index[frequency]]
        seen = np.count_nonzero(~np.isnan(values[-settings.context_steps :]))
        if seen < self._settings.min_points:
            needed = f"at least {self._settings.min_points} of the newest {settings.context_steps} steps must be there"
            violations.refuse(f"{field}.values", f"have {seen} that are not missing{called}; {needed}")
            return None
        known = int(np.flatnonzero(~np.isnan(values))[-1]) + 1
        return _Series(position, self._index[frequency], values[:known], len(values) - known, coming_s)

    def _check_numbers(
        self, values: Floats, times_s: NDArray[np.int64], field: str, called: str, violations: Violations
    ) -> None:
        """Checks how many values and timestamps there are, and that the model can take the values."""
        most = self._limits.max_points_per_series
        if len(values) > most:
            violations.refuse(f"{field}.values", f"are {len(values)}{called}; allowed: up to {most}")
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
        """Returns the frequency that is asked for, or told by timestamps; 0 if there is none or the two disagree."""
        inferred = infer_frequency(times_s) if len(times_s) else None
        frequency = requested or self._choose(inferred)
        if not frequency:
            tell = "its timestamps fit none" if len(times_s) else "it has no timestamps to tell"
            text = f"is not set, and {tell}{called}; set one of {self._names}"
            violations.refuse(f"{field}.frequency", text)
        elif inferred not in (None, frequency) and frequency != _OTHER:  # which is any even step
            name = forecast_pb2.Frequency.Name(frequency)
            other = f"{name} is asked for" if requested else f"{self._bundle} knows only {name}"
            text = f"tell {forecast_pb2.Frequency.Name(inferred)}, but {other}{called}"
            violations.refuse(f"{field}.times_unix_s", f"{text}; leave the frequency out" if requested else text)
            return 0
        return frequency

    def _choose(self, inferred: int | None) -> int:
        """The frequency of a series that names none, from what its timestamps tell; 0 if there is none to choose."""
        if len(self._index) == 1:
            return int(next(iter(self._index)))
        return inferred if inferred in self._index else 0


def _align(series: Sequence[Floats], steps: int) -> Floats:
    """Stacks the newest steps of series, with missing values before those that are shorter: [series, step]."""
    stacked = np.full((len(series), steps), np.nan)
    for row, values in enumerate(series):
        newest = values[-steps:]
        stacked[row, steps - len(newest) :] = newest
    return stacked


def _add_uncertainty(quantiles: Floats, is_log: Flags, middle: int, before: Floats | None) -> tuple[Floats, Floats]:
    """Adds what was uncertain at the end of the run before; distances add up on the scale on which errors are alike.

    Returns:
        The quantiles, and how far those of the last step are from the median, on that scale.
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
