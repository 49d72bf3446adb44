"""Reads pandas times in any form: timestamps, dates, text, periods, whole numbers."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC
from typing import Any

import pandas as pd
from pandas.tseries.api import guess_datetime_format

from muserve_client.calls.forecast.axes import Axis, Periods, Steps, Times
from muserve_client.calls.forecast.frequencies import BUSINESS_DAYS, is_business_days, known_frequency
from muserve_client.calls.forecast.series import refused

__all__ = ["THE_INDEX", "Moments", "read_moments", "row_of", "shown"]

THE_INDEX = "the index"
"""What an index is called."""

_DAY_FIRST = re.compile(r"(\d{1,2})([./-])\d{1,2}[./-]\d{2,4}")  # or month first
_QUARTER = re.compile(r"\d{4}-?Q[1-4]")
_DATES_IN_DIGITS = ("%Y%m%d", "%Y%m")
_LIKELY_YEARS = (1800, 2200)  # 200,000 steps are counted less often than months are written as 202401


@dataclass(frozen=True)
class Moments:
    """A column of times."""

    positions: pd.Series
    """Whole numbers, in the order of the rows; the axis says what they mean."""
    sent: pd.Series | None
    """Seconds since 1970, as they are sent; None if the steps are counted."""
    axis: Axis
    frequency: int
    """What the column itself says of it: a `muserve.v1.Frequency`, or 0."""


def read_moments(column: pd.Series, called: str, rows: pd.Index) -> Moments:
    """Reads a column or an index of times, in whatever form it is.

    Whole numbers count steps, unless all of them are days or months such as 20240131 or 202401.

    Args:
        column: The times, in the order of the rows.
        called: "column 'ds'", or `THE_INDEX`.
        rows: The index of the frame that the column comes from.

    Raises:
        InvalidRequestError: Names the row that has no time, or one that cannot be read.
    """
    frequency = known_frequency(getattr(rows, "freqstr", None) or "") if called == THE_INDEX else 0
    column = column.reset_index(drop=True)
    if isinstance(column.dtype, pd.CategoricalDtype):
        column = column.astype(column.cat.categories.dtype)
    if column.isna().any():
        raise refused(f"{_place(called, rows, column.isna().idxmax())} has no time")
    kind = pd.api.types.infer_dtype(column)
    if kind == "period":
        return _periods(pd.PeriodIndex(column), called)
    if kind in ("datetime64", "datetime", "date"):
        return _times(pd.DatetimeIndex(_to_datetime(column, format=None)), frequency)
    if kind in ("integer", "floating", "mixed-integer-float", "decimal"):
        return _counted(column, called, rows)
    if kind == "string":
        return _read_texts(column.astype(str).str.strip(), called, rows)
    raise refused(f"{called} holds {kind}; allowed for times: dates, timestamps, periods, or whole numbers")


def _read_texts(texts: pd.Series, called: str, rows: pd.Index) -> Moments:
    """Reads text: whole numbers, quarters such as 2024Q1, or dates."""
    if pd.to_numeric(texts, errors="coerce").notna().all():
        return _counted(pd.to_numeric(texts), called, rows)
    if texts.str.fullmatch(_QUARTER.pattern).all():
        return _periods(pd.PeriodIndex(texts.str.replace("-", ""), freq="Q"), called)
    days = texts.str.extract(f"^{_DAY_FIRST.pattern}")
    day_first = bool(days[1].eq(".").any() or pd.to_numeric(days[0]).gt(12).any())
    form = guess_datetime_format(texts[0], dayfirst=day_first and days[0].notna()[0])
    times = _to_datetime(texts, format=form or "mixed", dayfirst=day_first)
    if times.isna().any() and form:
        times = _to_datetime(texts, format="mixed", dayfirst=day_first)
    if times.isna().any():
        where = times.isna().idxmax()
        allowed = "dates such as 2024-01-31, or whole numbers"
        raise refused(f"{_place(called, rows, where)} is {shown(texts[where])}; allowed: {allowed}")
    return _times(pd.DatetimeIndex(times), 0)


def _to_datetime(column: pd.Series, **options: Any) -> pd.Series:
    """Parses what may be parsed, NaT for the rest; several offsets from UTC become UTC."""
    try:
        times = pd.to_datetime(column, errors="coerce", **options)
    except ValueError:
        times = None
    if times is None or pd.api.types.is_object_dtype(times.dtype):  # pandas 2 leaves mixed offsets as objects
        return pd.to_datetime(column, errors="coerce", utc=True, **options)
    return times


def _times(times: pd.DatetimeIndex, frequency: int) -> Moments:
    if times.tz is None:
        seconds = _seconds(times)
        return Moments(seconds, seconds, Times(unit=times.unit), frequency)
    clock = times.tz_localize(None)
    is_local = (clock - clock.normalize()).nunique() == 1
    seconds = _seconds(times.tz_convert(UTC).tz_localize(None))
    axis = Times(times.tz, is_local=is_local, unit=times.unit)
    return Moments(seconds, _seconds(clock) if is_local else seconds, axis, frequency)


def _seconds(times: pd.DatetimeIndex) -> pd.Series:
    return pd.Series(times.as_unit("s").astype("int64"))


def _periods(periods: pd.PeriodIndex, called: str) -> Moments:
    if is_business_days(periods.freqstr):
        raise refused(f"{called} holds periods that are business days ({periods.freqstr!r}), {BUSINESS_DAYS}")
    starts = _seconds(periods.to_timestamp(how="start"))
    axis = Periods(periods.freqstr, step=periods.freq.n)
    return Moments(pd.Series(periods.astype("int64")), starts, axis, known_frequency(periods.freqstr))


def _counted(column: pd.Series, called: str, rows: pd.Index) -> Moments:
    numbers = column.astype("float64")
    wrong = numbers.mod(1) != 0  # NaN for infinities
    if wrong.any():
        where = wrong.idxmax()
        raise refused(
            f"{_place(called, rows, where)} is {shown(column[where])}; numbers that stand for times must be whole"
        )
    numbers = column.astype("int64")
    is_counted = numbers.min() < 100 * _LIKELY_YEARS[0] or numbers.max() > 10_000 * (_LIKELY_YEARS[1] + 1)
    for form in () if is_counted else _DATES_IN_DIGITS:
        dates = pd.to_datetime(numbers.astype(str), format=form, errors="coerce")
        if dates.dt.year.between(*_LIKELY_YEARS).all():
            return _times(pd.DatetimeIndex(dates), 0)
    return Moments(numbers, None, Steps(), 0)


def _place(called: str, rows: pd.Index, position: int) -> str:
    return f"row {position} of the index" if called == THE_INDEX else f"{called}, {row_of(rows, position)}"


def row_of(rows: pd.Index, position: int) -> str:
    """Names a row as pandas does, or as the index is called: "line 7"."""
    return f"{rows.name or 'row'} {rows[position]}"


def shown(value: Any) -> str:
    """Shows a cell."""
    return repr(value) if isinstance(value, str) else str(value)
