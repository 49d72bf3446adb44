"""Forecasts: numbers, tables, files and plots."""

from __future__ import annotations

import csv
import io
import itertools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, time
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from muserve.configuration import nearest
from muserve_client.calls.forecast.forecast import Forecast
from muserve_client.calls.forecast.series import Columns
from muserve_client.extras import extra
from muserve_client.info import Info
from muserve_client.saving import write_file

if TYPE_CHECKING:
    import matplotlib.figure
    import pandas as pd

__all__ = ["FORMATS", "Forecasts"]

FORMATS = (".csv", ".json", ".parquet")
"""Endings of the files that can be saved."""


@dataclass(frozen=True, repr=False)
class Forecasts(Sequence[Forecast]):
    """The forecasts of one call, in the order of the series."""

    series: tuple[Forecast, ...]
    """The forecasts."""
    info: Info
    """Model, digest and timings; of several calls to the server, their sum."""
    point: str
    """What the point forecasts are: "median" or "mean"."""
    columns: Columns = field(default_factory=Columns)
    """Names of the id and time columns in tables."""

    @overload
    def __getitem__(self, index: int | str) -> Forecast: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Forecast, ...]: ...

    def __getitem__(self, index: int | str | slice) -> Forecast | tuple[Forecast, ...]:
        """Takes a forecast by its index, or by its id if that is text."""
        if not isinstance(index, str):
            return self.series[index]
        for forecast in self.series:
            if forecast.id == index:
                return forecast
        raise KeyError(f"no series {index!r}; {nearest(index, [str(forecast.id) for forecast in self.series])}")

    def __len__(self) -> int:
        return len(self.series)

    def __iter__(self) -> Iterator[Forecast]:
        return iter(self.series)

    def __repr__(self) -> str:
        steps = len(self.series[0].point) if self.series else 0
        return f"<Forecasts: {len(self)} series, {steps} steps, by {self.info.model}/{self.info.version}>"

    def to_frame(self) -> pd.DataFrame:
        """Makes a long DataFrame: a row a step, with the columns unique_id, ds, yhat, and q0.1 and so on for quantiles.

        Where the series came with other names for unique_id and ds, these are used. `ds` goes on in the form in which
        it came: timestamps with their time zone, periods, or whole numbers. For a column a series:
        `to_frame().pivot(index="ds", columns="unique_id", values="yhat")`.

        Raises:
            ModuleNotFoundError: pandas is not installed.
        """
        with extra("to_frame"):
            from muserve_client.calls.forecast.frames import table
            from muserve_client.calls.forecast.periods import index_of
        axes = {forecast.history.axis for forecast in self}
        if len(axes) == 1:
            steps = index_of(list(itertools.chain.from_iterable(forecast.positions for forecast in self)), *axes)
        else:
            steps = [name for forecast in self for name in forecast.ds]
        ids = [forecast.id for forecast in self for _ in forecast.point]
        values = {name: itertools.chain.from_iterable(parts) for name, parts in self._values().items()}
        return table({self.columns.id: ids, self.columns.time: steps, **values})

    def rows(self) -> Iterator[list[Any]]:
        """Yields the table of `to_frame` as files hold it: the names of its columns, then row by row, times as text."""
        values, is_dates = self._values(), _are_dates(self)
        yield [self.columns.id, self.columns.time, *values]
        for forecast, *parts in zip(self, *values.values(), strict=True):
            for name, *numbers in zip(forecast.ds, *parts, strict=True):
                yield [forecast.id, _text(name, is_date=is_dates), *numbers]

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes a file in one step, and missing folders above it.

        Args:
            path: "x.csv" or "x.parquet": the table of `to_frame`; "x.json": the same for programs, with model, version
                and digest.

        Returns:
            The path.

        Raises:
            ValueError: The path ends with something else.
            ModuleNotFoundError: It is Parquet, and pandas or pyarrow is not installed.
            OSError: It cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix not in FORMATS:
            raise ValueError(f"{os.fspath(path)!r} ends with {suffix!r}; allowed: {', '.join(FORMATS)}")
        writers = dict(zip(FORMATS, (self._csv, self._json, self._parquet), strict=True))
        return write_file(path, writers[suffix]())

    def plot(self, *, history_steps: int | None = None) -> matplotlib.figure.Figure:
        """Draws each series' newest values and its forecast, the quantiles as bands; a panel a series, at most 12.

        Args:
            history_steps: How many of the newest values; None takes four times the horizon, and at least 48.

        Returns:
            The figure; `savefig` writes it to a file.

        Raises:
            ModuleNotFoundError: matplotlib is not installed.
        """
        with extra("plot"):
            from muserve_client.calls.forecast.plots import draw
        return draw(self.series, point=self.point, history_steps=history_steps)

    def _repr_png_(self) -> bytes | None:
        """Shows the plot in notebooks, where matplotlib is installed."""
        picture = io.BytesIO()
        try:
            self.plot().savefig(picture, format="png")
        except ModuleNotFoundError:
            return None
        return picture.getvalue()

    def _values(self) -> dict[str, list[tuple[float, ...]]]:
        """Returns the columns of numbers: "yhat", "q0.1" and so on, each in parts, one a series."""
        levels = self.series[0].quantiles if self.series else ()
        quantiles = {f"q{level}": [forecast.quantiles[level] for forecast in self] for level in levels}
        return {"yhat": [forecast.point for forecast in self], **quantiles}

    def _csv(self) -> bytes:
        text = io.StringIO(newline="")
        csv.writer(text, lineterminator="\n").writerows(self.rows())
        return text.getvalue().encode()

    def _json(self) -> bytes:
        is_dates = _are_dates(self)
        forecasts = [
            {
                "unique_id": forecast.id,
                "frequency": forecast.frequency,
                "ds": [_text(name, is_date=is_dates) for name in forecast.ds],
                "yhat": forecast.point,
                "quantiles": {str(level): values for level, values in forecast.quantiles.items()},
                "direct_steps": forecast.direct_steps,
                "experimental": forecast.experimental,
            }
            for forecast in self
        ]
        model = {"model": self.info.model, "version": self.info.version, "digest": self.info.digest}
        content = {**model, "point": self.point, "forecasts": forecasts}
        return (json.dumps(content, ensure_ascii=False, default=str) + "\n").encode()

    def _parquet(self) -> bytes:
        content = io.BytesIO()
        with extra("Parquet"):
            import pyarrow  # noqa: F401 - or pandas asks for one of two packages

            self.to_frame().to_parquet(content, engine="pyarrow", index=False)
        return content.getvalue()


def _are_dates(forecasts: Forecasts) -> bool:
    """Whether all times are midnights without a zone, so that files need to name the days only."""
    return all(
        isinstance(name, datetime) and name.tzinfo is None and name.time() == time()
        for forecast in forecasts
        for name in forecast.ds
    )


def _text(name: Any, *, is_date: bool) -> Any:
    """Writes the name of a step for a file: whole numbers stay, times become ISO 8601."""
    if isinstance(name, datetime):
        return str(name.date()) if is_date else name.isoformat(sep=" ")
    return name if isinstance(name, int) else str(name)
