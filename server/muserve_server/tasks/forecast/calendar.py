"""Timestamps: which frequency they have, where they lie on its grid, and how they go on. All in UTC. Pure functions."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from types import MappingProxyType

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import forecast_pb2

__all__ = ["CalendarError", "check_times", "continue_times", "infer_frequency", "on_grid"]

YEARLY, QUARTERLY, MONTHLY = (
    forecast_pb2.FREQUENCY_YEARLY,
    forecast_pb2.FREQUENCY_QUARTERLY,
    forecast_pb2.FREQUENCY_MONTHLY,
)
WEEKLY, DAILY, HOURLY = forecast_pb2.FREQUENCY_WEEKLY, forecast_pb2.FREQUENCY_DAILY, forecast_pb2.FREQUENCY_HOURLY

_HOUR_S, _DAY_S = 3600, 86400
_MONTHS: Mapping[int, int] = MappingProxyType({YEARLY: 12, QUARTERLY: 3, MONTHLY: 1})
_SECONDS: Mapping[int, int] = MappingProxyType({WEEKLY: 7 * _DAY_S, DAILY: _DAY_S, HOURLY: _HOUR_S})
# Typical distance between two timestamps, in days, from … to.
_DISTANCES = (
    (YEARLY, 364, 367), (QUARTERLY, 88, 93), (MONTHLY, 27, 32), (WEEKLY, 6.9, 7.1), (DAILY, 0.95, 1.05),
    (HOURLY, 0.99 / 24, 1.01 / 24),
)  # fmt: skip
_OFF_GRID = 0.15
_FIRST_S, _LAST_S = -62135596800, 253402300799  # the years 1 to 9999

Times = NDArray[np.int64]


class CalendarError(ValueError):
    """Timestamps do not form a series; says why."""


def check_times(times_s: Times) -> None:
    """Checks that timestamps rise.

    Args:
        times_s: Seconds since 1970, [step], at least one.

    Raises:
        CalendarError: They do not, or lie outside the years that a calendar has.
    """
    if times_s.min() < _FIRST_S or times_s.max() > _LAST_S:
        raise CalendarError("has a time outside the years 1 to 9999; they are seconds since 1970")
    falls = np.flatnonzero(np.diff(times_s) <= 0)
    if len(falls):
        where = int(falls[0]) + 1
        raise CalendarError(f"does not rise at index {where} ({_say(times_s[where])} after {_say(times_s[where - 1])})")


def infer_frequency(times_s: Times) -> int | None:
    """Returns the frequency that the most common distance between timestamps belongs to; None if there is none.

    Distances of one frequency count as the same, however long its months are. Of equally common ones the shortest
    counts: the others are gaps.

    Args:
        times_s: Seconds since 1970, rising, [step].
    """
    if len(times_s) < 2:
        return None
    distances_s, counts = np.unique(np.diff(times_s), return_counts=True)
    seen = Counter[int]()  # a frequency, or below zero the distance that fits none; the shortest first
    for distance_s, count in zip(distances_s.tolist(), counts.tolist(), strict=True):
        seen[_frequency_of(distance_s) or -distance_s] += count
    ((commonest, _),) = seen.most_common(1)
    return commonest if commonest > 0 else None


def _frequency_of(distance_s: int) -> int | None:
    """The frequency that a single distance belongs to."""
    return next((name for name, least, maximum in _DISTANCES if least <= distance_s / _DAY_S <= maximum), None)


def on_grid(times_s: Times, frequency: int) -> NDArray[np.int64]:
    """Places timestamps on the grid of their frequency.

    Args:
        times_s: Seconds since 1970, [step], at least one.
        frequency: A `muserve.v1.Frequency`.

    Returns:
        int64 [step]: how many steps each lies after the first; what is left out is a missing value.

    Raises:
        CalendarError: They do not rise, two fall on the same step, or one lies between steps.
    """
    check_times(times_s)
    grid: Times
    if frequency in _MONTHS:
        months = times_s.astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
        grid = months // _MONTHS[frequency] if frequency != QUARTERLY else (months - months[0]) // 3
        grid = grid - grid[0]
    else:
        seconds = _SECONDS.get(frequency) or _usual_distance(times_s)
        exact = (times_s - times_s[0]) / seconds
        grid = np.rint(exact).astype(np.int64)
        off = np.flatnonzero(np.abs(exact - grid) > _OFF_GRID)
        if len(off):
            raise CalendarError(f"has {_say(times_s[off[0]])} at index {int(off[0])}, which is between two steps")
    same = np.flatnonzero(np.diff(grid) == 0)
    if len(same):
        where = int(same[0])
        raise CalendarError(
            f"has two values in one step at index {where} and {where + 1} ({_say(times_s[where])}, "
            f"{_say(times_s[where + 1])})"
        )
    return grid


def continue_times(times_s: Times, frequency: int, horizon: int) -> Times:
    """Continues timestamps by a number of steps.

    Months keep their day, the highest of all, as far as they have it. Where all are ends of months, new ones are too.

    Args:
        times_s: Seconds since 1970, on the grid of the frequency, [step].
        frequency: A `muserve.v1.Frequency`.
        horizon: How many steps.

    Returns:
        int64 [horizon].

    Raises:
        CalendarError: They would leave the years that a calendar has.
    """
    coming = _next_times(times_s, frequency, np.arange(1, horizon + 1))
    if coming[-1] > _LAST_S:
        raise CalendarError(f"ends with {_say(times_s[-1])}; {horizon} steps on, it leaves the years 1 to 9999")
    return coming


def _next_times(times_s: Times, frequency: int, steps: Times) -> Times:
    last = int(times_s[-1])
    if frequency not in _MONTHS:
        seconds = _SECONDS.get(frequency) or _usual_distance(times_s)
        return (last + steps * seconds).astype(np.int64)
    moments = times_s.astype("datetime64[s]")
    months = moments.astype("datetime64[M]")
    days = moments.astype("datetime64[D]")
    day_of_month = (days - months.astype("datetime64[D]")).astype(np.int64)
    ends = bool((day_of_month + 1 == _length(months)).all())
    coming = months[-1] + steps * _MONTHS[frequency]
    day = _length(coming) - 1 if ends else np.minimum(day_of_month.max(), _length(coming) - 1)
    time_of_day = last - int(days[-1].astype("datetime64[s]").astype(np.int64))
    moments = coming.astype("datetime64[D]") + day.astype("timedelta64[D]")
    continued: Times = moments.astype("datetime64[s]").astype(np.int64) + time_of_day
    return continued


def _usual_distance(times_s: Times) -> int:
    """Returns the median of the distances that are not gaps, in seconds: less than one and a half of the shortest.

    1 of a single timestamp.
    """
    distances = np.diff(times_s)
    return int(np.median(distances[distances < 1.5 * distances.min()])) if len(distances) else 1


def _length(months: NDArray[np.datetime64]) -> NDArray[np.int64]:
    """Days of each month."""
    length: Times = ((months + 1).astype("datetime64[D]") - months.astype("datetime64[D]")).astype(np.int64)
    return length


def _say(time_s: np.int64) -> str:
    return f"{np.datetime64(int(time_s), 's')}Z"
