"""Reads series from pandas Series and DataFrames. Imported only where pandas is wanted."""

from __future__ import annotations

import math
from array import array
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pandas as pd

from muserve.configuration import nearest
from muserve.v1 import forecast_pb2
from muserve_client.calls.forecast.axes import Axis, Steps
from muserve_client.calls.forecast.moments import THE_INDEX, read_moments, row_of, shown
from muserve_client.calls.forecast.series import Columns, Series, refused, text_of

__all__ = ["is_long", "read_frame", "read_pandas_series", "table"]

_MAX_STEPS = 1_000_000  # more of them between whole numbers are no gap, but timestamps in disguise
_NUMBERS_OR_MISSING = "allowed: numbers, and nothing where one is missing"


def read_frame(frame: pd.DataFrame, *, columns: Columns, frequency: int) -> list[Series]:
    """Reads a DataFrame in long form (a row a value) or wide form (a column a series, the index is time).

    Args:
        frame: See `is_long`.
        columns: Names of the columns of the long form. Without an `id`, all is one series.
        frequency: A `muserve.v1.Frequency`; 0 takes what the index says.

    Raises:
        InvalidRequestError: Says what cannot be sent, and where it stands.
    """
    if is_long(frame, columns):
        in_index = {columns.id, columns.time} & set(frame.index.names)
        return _read_long(frame.reset_index() if in_index else frame, columns, frequency)
    twice = frame.columns[frame.columns.duplicated()].tolist()
    if twice:
        raise refused(f"has two columns {twice[0]!r}; each series needs a name of its own")
    return _read_wide(frame, frame.columns.tolist(), frequency)


def is_long(frame: pd.DataFrame, columns: Columns) -> bool:
    """Tells the long form by its columns: that of ids, or those of times and values, or all where they were named."""
    names = {*frame.columns, *frame.index.names}
    return columns != Columns() or columns.id in names or {columns.time, columns.value} <= names


def read_pandas_series(series: pd.Series, *, id_: Any, frequency: int) -> Series:
    """Reads a pandas Series; its index is time.

    Raises:
        InvalidRequestError: Says what cannot be sent, and where it stands.
    """
    (found,) = _read_wide(series.to_frame(id_), [id_], frequency)
    return found


def table(columns: Mapping[str, Iterable[Any]]) -> pd.DataFrame:
    """Makes a DataFrame of columns."""
    return pd.DataFrame(
        {name: values if isinstance(values, pd.Index) else list(values) for name, values in columns.items()}
    )


def _read_long(frame: pd.DataFrame, columns: Columns, frequency: int) -> list[Series]:
    _check_columns(frame, columns)
    rows = frame.index
    moments = read_moments(frame[columns.time], f"column {columns.time!r}", rows)
    table = pd.DataFrame(
        {"code": 0, "position": moments.positions, "value": _read_values(frame[columns.value], columns.value)}
    )
    ids: list[Any] = [columns.value]
    if columns.id in frame.columns:
        table["code"], found = pd.factorize(frame[columns.id])
        ids = found.tolist()
    if (table["code"] < 0).any():
        raise refused(f"column {columns.id!r}, {row_of(rows, table['code'].lt(0).idxmax())} has no id")
    table = table.sort_values(["code", "position"], kind="stable")
    twice = table.duplicated(["code", "position"])
    if twice.any():
        where = twice.idxmax()
        time = shown(frame[columns.time].iloc[where])
        raise refused(
            f"{ids[table['code'][where]]!r} has {time} twice in column {columns.time!r}: {row_of(rows, where)}"
        )
    axis = _stepped(moments.axis, table["position"].diff()[table["code"].diff() == 0])
    sent = None if moments.sent is None else moments.sent[table.index].to_numpy()
    positions, values = table["position"].to_numpy(), table["value"].to_numpy()
    series, start = [], 0
    for code, size in table.groupby("code").size().items():
        part = slice(start, start := start + size)
        times = None if sent is None else sent[part].tolist()
        line = _Line(positions[part].tolist(), times, axis, frequency or moments.frequency)
        series.append(_build(ids[code], line, values[part].tolist()))
    return series


def _read_wide(frame: pd.DataFrame, ids: Sequence[Any], frequency: int) -> list[Series]:
    if isinstance(frame.index, pd.MultiIndex):
        raise refused("has an index of several levels; allowed: one level, of times or whole numbers")
    if frame.empty:
        raise refused("has no values")
    moments = read_moments(frame.index.to_series(), THE_INDEX, frame.index)
    positions = moments.positions.sort_values(kind="stable")
    order = positions.index
    twice = positions.duplicated()
    if twice.any():
        raise refused(f"has {shown(frame.index[twice.idxmax()])} in its index twice")
    distances = positions.diff().iloc[1:]
    axis = _stepped(moments.axis, distances)
    if isinstance(axis, Steps) and (distances != axis.step).any() and frame.index.name is None:
        after = positions[(distances != axis.step).idxmax()]
        raise refused(
            f"has an index of whole numbers with a gap before {after}. If values are missing there, name the index, as "
            "in index.name = 'step'; if the values follow each other, give reset_index(drop=True)"
        )
    sent = None if moments.sent is None else moments.sent[order].tolist()
    line = _Line(positions.tolist(), sent, axis, frequency or moments.frequency)
    return [_build(id_, line, _read_values(frame.iloc[:, place], id_)[order].tolist()) for place, id_ in enumerate(ids)]


@dataclass(frozen=True)
class _Line:
    """Where the values of a series lie, in order."""

    positions: list[int]
    sent: list[int] | None
    axis: Axis
    frequency: int


def _build(id_: Any, line: _Line, values: list[float]) -> Series:
    message = forecast_pb2.TimeSeries(id=text_of(id_))
    message.frequency = line.frequency  # type: ignore[assignment]
    positions: Sequence[int] = line.positions
    if isinstance(line.axis, Steps):
        step, first, last = line.axis.step, line.positions[0], line.positions[-1]
        positions = range(first, last + step, step)
        if len(positions) > max(_MAX_STEPS, len(values)):
            raise refused(
                f"{id_!r} has whole numbers from {first} to {last} for times, which count {len(positions)} steps; if "
                "they are timestamps, give pd.to_datetime(…, unit='s')"
            )
        if len(positions) > len(values):
            known = dict(zip(line.positions, values, strict=True))
            values = [known.get(position, math.nan) for position in positions]
    elif line.sent is not None:
        message.times_unix_s.extend(line.sent)
        positions = message.times_unix_s if line.sent == line.positions else array("q", line.positions)
    message.values.extend(values)
    return Series(id_, message, positions, line.axis)


def _stepped(axis: Axis, distances: pd.Series) -> Axis:
    """Sets how far counted steps lie apart: the largest number that divides every distance."""
    if not isinstance(axis, Steps):
        return axis
    return replace(axis, step=math.gcd(*(int(distance) for distance in distances.unique())) or 1)


def _read_values(column: pd.Series, name: Any) -> pd.Series:
    """Takes a column of numbers: float64 with NaN, in the order of the rows."""
    called = f"column {name!r}"
    if pd.api.types.is_string_dtype(column.dtype) or pd.api.types.is_object_dtype(column.dtype):
        numbers = pd.to_numeric(column, errors="coerce")
        wrong = (numbers.isna() & column.notna()).reset_index(drop=True)
        if wrong.any():
            where = wrong.idxmax()
            value = shown(column.iloc[where])
            raise refused(f"{called}, {row_of(column.index, where)} is {value}; {_NUMBERS_OR_MISSING}")
        column = numbers
    if not pd.api.types.is_numeric_dtype(column.dtype) or pd.api.types.is_complex_dtype(column.dtype):
        raise refused(
            f"{called} holds {column.dtype}; {_NUMBERS_OR_MISSING}. A frame in long form needs the columns unique_id, "
            "ds and y, or other names given by id_column, time_column and value_column"
        )
    return pd.Series(column.to_numpy(dtype="float64", na_value=math.nan))


def _check_columns(frame: pd.DataFrame, columns: Columns) -> None:
    names = [str(name) for name in frame.columns]
    expected = {"time_column": columns.time, "value_column": columns.value}
    if columns.id != Columns().id or columns.id in frame.columns:
        expected["id_column"] = columns.id
    for argument, name in expected.items():
        count = names.count(name)
        if count != 1:
            what = "no column" if not count else "two columns"
            raise refused(f"has {what} {name!r}; {nearest(name, names)} (name it by {argument})")
    if frame.empty:
        raise refused("has no rows")
