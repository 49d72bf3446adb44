"""Timestamps: which frequency they have, what is missing among them, and how they go on."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muserve_server.tasks.forecast.calendar import (
    CalendarError,
    check_times,
    continue_times,
    infer_frequency,
    on_grid,
)
from tests.bundles import DAILY, HOURLY, MONTHLY, OTHER, QUARTERLY, WEEKLY, YEARLY

Times = NDArray[np.int64]
CALENDAR = (YEARLY, QUARTERLY, MONTHLY, WEEKLY, DAILY, HOURLY)
DAY_S = 86400


def at(*moments: str) -> Times:
    """Seconds of moments: "2024-01-31" or "2024-01-31T23"."""
    return np.array([_seconds(datetime.fromisoformat(moment).replace(tzinfo=UTC)) for moment in moments], np.int64)


def _seconds(moment: datetime) -> int:
    return (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)


def said(times_s: Times) -> list[str]:
    moments = [datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=int(time_s)) for time_s in times_s]
    return [
        moment.strftime("%Y-%m-%d") if moment.hour == 0 else moment.strftime("%Y-%m-%dT%H:%M") for moment in moments
    ]


@pytest.mark.parametrize(
    ("past", "frequency", "coming"),
    [
        (("2023-11-30", "2023-12-31"), MONTHLY, ["2024-01-31", "2024-02-29", "2024-03-31", "2024-04-30"]),
        (("2022-12-31", "2023-01-31"), MONTHLY, ["2023-02-28", "2023-03-31", "2023-04-30", "2023-05-31"]),
        (("2023-12-01", "2024-01-01"), MONTHLY, ["2024-02-01", "2024-03-01", "2024-04-01"]),
        (("2023-12-15", "2024-01-15"), MONTHLY, ["2024-02-15", "2024-03-15"]),
        # The 30th is not the end of a month, where there is a 31st; February has neither.
        (("2023-11-30", "2023-12-30"), MONTHLY, ["2024-01-30", "2024-02-29", "2024-03-30", "2024-04-30"]),
        (("2024-01-30", "2024-02-29"), MONTHLY, ["2024-03-30", "2024-04-30", "2024-05-30"]),
        (("2023-10-31", "2023-11-30"), MONTHLY, ["2023-12-31"]),
        (("2100-01-31",), MONTHLY, ["2100-02-28", "2100-03-31"]),  # no leap year
        (("1999-12-31", "2000-01-31"), MONTHLY, ["2000-02-29"]),
        (("2023-09-30", "2023-12-31"), QUARTERLY, ["2024-03-31", "2024-06-30", "2024-09-30", "2024-12-31"]),
        (("2023-10-01", "2024-01-01"), QUARTERLY, ["2024-04-01", "2024-07-01"]),
        (("2023-11-30", "2024-02-29"), QUARTERLY, ["2024-05-31", "2024-08-31"]),  # quarters that end in February
        (("2022-12-31", "2023-12-31"), YEARLY, ["2024-12-31", "2025-12-31"]),
        (("2022-07-01", "2023-07-01"), YEARLY, ["2024-07-01"]),
        (("2023-02-28", "2024-02-29"), YEARLY, ["2025-02-28", "2026-02-28", "2027-02-28", "2028-02-29"]),
        (("2024-02-18", "2024-02-25"), WEEKLY, ["2024-03-03", "2024-03-10"]),
        (("2024-02-27", "2024-02-28"), DAILY, ["2024-02-29", "2024-03-01"]),
        (("2023-02-27", "2023-02-28"), DAILY, ["2023-03-01"]),
        (("2023-12-31T22", "2023-12-31T23"), HOURLY, ["2024-01-01", "2024-01-01T01:00"]),
        (("1969-12-31T22", "1969-12-31T23"), HOURLY, ["1970-01-01", "1970-01-01T01:00"]),
        (("2024-01-01", "2024-01-11", "2024-01-21"), OTHER, ["2024-01-31", "2024-02-10"]),
        (("2023-11-30T17", "2023-12-31T17"), MONTHLY, ["2024-01-31T17:00", "2024-02-29T17:00"]),
    ],
)
def test_a_series_goes_on_by_its_calendar(past: tuple[str, ...], frequency: int, coming: list[str]) -> None:
    assert said(continue_times(at(*past), frequency, len(coming))) == coming


def test_ends_of_months_in_another_zone_stay_what_they_are() -> None:
    """Local midnight of the 1st in Berlin is 23:00 of the last day before, or 22:00 in summer."""
    past = at("2023-12-31T23", "2024-01-31T23", "2024-02-29T23")
    assert said(continue_times(past, MONTHLY, 2)) == ["2024-03-31T23:00", "2024-04-30T23:00"]
    summer = at("2024-02-29T23", "2024-03-31T22", "2024-04-30T22")
    assert infer_frequency(summer) == MONTHLY
    assert on_grid(summer, MONTHLY).tolist() == [0, 1, 2]


@pytest.mark.parametrize("frequency", CALENDAR)
@settings(max_examples=60)
@given(start=st.datetimes(datetime(1900, 1, 1), datetime(2200, 1, 1)), count=st.integers(3, 60))
def test_what_goes_on_is_of_the_same_frequency_and_without_a_gap(frequency: int, start: datetime, count: int) -> None:
    first = np.array([_seconds(start.replace(tzinfo=UTC))], np.int64)
    whole = np.concatenate([first, continue_times(first, frequency, count)])
    assert on_grid(whole, frequency).tolist() == list(range(count + 1))
    assert infer_frequency(whole) == frequency
    split = count // 2 + 1
    again = np.concatenate([whole[:split], continue_times(whole[:split], frequency, count + 1 - split)])
    days = [moment.day for moment in whole.astype("datetime64[s]").astype(datetime)]
    if max(days) <= 28 or frequency not in (YEARLY, QUARTERLY, MONTHLY):
        assert again.tolist() == whole.tolist()
    assert on_grid(again, frequency).tolist() == list(range(count + 1))


@pytest.mark.parametrize(
    ("moments", "frequency"),
    [
        (("2020-12-31", "2021-12-31", "2022-12-31"), YEARLY),
        (("2023-03-31", "2023-06-30", "2023-09-30"), QUARTERLY),
        (("2024-01-01", "2024-04-01"), QUARTERLY),
        (("2024-01-31", "2024-02-29"), MONTHLY),
        (("2023-02-01", "2023-03-01"), MONTHLY),
        (("2024-01-01", "2024-01-08"), WEEKLY),
        (("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-05"), DAILY),  # one day is missing
        (("2024-01-01", "2024-01-02", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-08"), DAILY),  # working days
        (("2024-01-01", "2024-01-02", "2024-01-09"), DAILY),  # as common as any other, and the closest
        (("2024-01-31", "2024-02-29", "2024-04-30"), MONTHLY),
        (("2024-01-01", "2024-01-03", "2024-01-05", "2024-01-06"), None),  # every other day is the most common
        (("2024-01-01", "2024-01-03", "2024-01-04", "2024-01-05", "2024-01-07", "2024-01-08", "2024-01-10"), DAILY),
        (("2024-01-01T00", "2024-01-01T01", "2024-01-01T02"), HOURLY),
        (("2024-01-01T00", "2024-01-01T02"), None),
        (("2024-01-01", "2024-01-03"), None),
        (("2024-01-01", "2024-03-01"), None),
        (("2020-01-01", "2022-01-01"), None),
        (("2024-01-01",), None),
    ],
)
def test_the_frequency_is_told_from_the_timestamps(moments: tuple[str, ...], frequency: int | None) -> None:
    assert infer_frequency(at(*moments)) == frequency


def test_days_and_hours_may_shift_with_daylight_saving() -> None:
    """Local midnights as UTC: the day on which clocks change has 23 or 25 hours."""
    shifted = at("2024-03-29T23", "2024-03-30T23", "2024-03-31T22", "2024-04-01T22", "2024-10-27T23")
    assert infer_frequency(shifted) == DAILY
    assert on_grid(shifted, DAILY).tolist() == [0, 1, 2, 3, 212]
    weeks = at("2024-03-24T23", "2024-03-31T22", "2024-04-07T22")
    assert infer_frequency(weeks) == WEEKLY
    assert on_grid(weeks, WEEKLY).tolist() == [0, 1, 2]


@pytest.mark.parametrize(
    ("moments", "frequency", "grid"),
    [
        (("2024-01-31", "2024-02-29", "2024-05-31"), MONTHLY, [0, 1, 4]),
        (("2024-01-31", "2024-02-01"), MONTHLY, [0, 1]),  # whichever day of the month
        (("2023-12-31", "2024-06-30"), QUARTERLY, [0, 2]),
        (("2023-11-15", "2024-02-15", "2024-08-15"), QUARTERLY, [0, 1, 3]),  # quarters may begin in any month
        (("2019-12-31", "2023-12-31"), YEARLY, [0, 4]),
        (("2024-02-28", "2024-02-29", "2024-03-02"), DAILY, [0, 1, 3]),
        (("2024-01-01", "2024-01-22"), WEEKLY, [0, 3]),
        (("2024-01-01T22", "2024-01-02T01"), HOURLY, [0, 3]),
        (("2024-01-01", "2024-01-11", "2024-01-21", "2024-02-10"), OTHER, [0, 1, 2, 4]),
        (("1970-01-01",), OTHER, [0]),
    ],
)
def test_what_is_left_out_is_missing(moments: tuple[str, ...], frequency: int, grid: list[int]) -> None:
    assert on_grid(at(*moments), frequency).tolist() == grid


@pytest.mark.parametrize(
    ("moments", "frequency", "text"),
    [
        (("2024-01-02", "2024-01-01"), DAILY, r"does not rise at index 1 \(2024-01-01T00:00:00Z after 2024-01-02T"),
        (("2024-01-01", "2024-01-02", "2024-01-02"), DAILY, "does not rise at index 2"),
        (("2024-01-01", "2024-01-30", "2024-02-28"), MONTHLY, "two values in one step at index 0 and 1"),
        (("2024-01-01", "2024-02-01", "2024-04-01"), QUARTERLY, "two values in one step at index 0 and 1"),
        (("2024-01-01", "2024-12-01"), YEARLY, "two values in one step"),
        (("2024-01-01T00", "2024-01-01T02"), DAILY, "two values in one step"),
        (("2024-01-01T00", "2024-01-02T12"), DAILY, r"has 2024-01-02T12:00:00Z at index 1, which is between two steps"),
        (("2024-01-01", "2024-01-04"), WEEKLY, "between two steps"),
        (("2024-01-01", "2024-01-11", "2024-01-26", "2024-02-05"), OTHER, "at index 2, which is between two steps"),
    ],
)
def test_what_fits_no_grid_says_where(moments: tuple[str, ...], frequency: int, text: str) -> None:
    with pytest.raises(CalendarError, match=text):
        on_grid(at(*moments), frequency)


@pytest.mark.parametrize("time_s", [-(2**63), -62135596801, 253402300800, 2**63 - 1])
def test_years_outside_a_calendar_are_refused(time_s: int) -> None:
    for times_s in ([time_s], sorted([0, time_s])):
        with pytest.raises(CalendarError, match="outside the years 1 to 9999; they are seconds since 1970"):
            check_times(np.array(times_s, np.int64))
    check_times(np.array([-62135596800, 253402300799], np.int64))


def test_nothing_goes_on_beyond_the_last_year() -> None:
    past = at("9999-10-31", "9999-11-30")
    assert said(continue_times(past, MONTHLY, 1)) == ["9999-12-31"]
    with pytest.raises(CalendarError, match="2 steps on, it leaves the years 1 to 9999"):
        continue_times(past, MONTHLY, 2)
    with pytest.raises(CalendarError, match="leaves the years"):
        continue_times(np.array([-62135596800, 253402300799], np.int64), OTHER, 10_000)


@settings(max_examples=200)
@given(st.lists(st.integers(-62135596800, 253402300799), min_size=1, max_size=30), st.sampled_from((*CALENDAR, OTHER)))
def test_any_times_are_a_grid_or_an_error(times: list[int], frequency: int) -> None:
    times_s = np.array(times, np.int64)
    try:
        grid = on_grid(times_s, frequency).tolist()
        coming = continue_times(times_s, frequency, 3).tolist()
    except CalendarError:
        return
    assert grid[0] == 0
    assert all(one < other for one, other in pairwise([*grid]))
    assert all(one < other for one, other in pairwise([times[-1], *coming]))


def test_other_steps_are_as_long_as_most_of_them() -> None:
    times = np.array([0, 600, 1800], dtype=np.int64)  # every ten minutes, one left out
    assert on_grid(times, OTHER).tolist() == [0, 1, 3]
    assert continue_times(times, OTHER, 2).tolist() == [2400, 3000]
    late = np.array([0, 601, 1199, 1800, 3601], dtype=np.int64)  # a clock that is a little off
    assert on_grid(late, OTHER).tolist() == [0, 1, 2, 3, 6]
