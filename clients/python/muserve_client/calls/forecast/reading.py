"""Series as callers hold them: lists, dicts, arrays, and what pandas holds. Needs neither NumPy nor pandas itself."""

from __future__ import annotations

import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from decimal import Decimal
from numbers import Real
from typing import Any

from muserve.v1 import forecast_pb2
from muserve_client.calls.forecast.axes import Steps
from muserve_client.calls.forecast.series import Columns, Series, refused, text_of
from muserve_client.extras import extra

__all__ = ["read_series"]

_SHOWN = 40
_ALLOWED = (
    "a list or array of numbers, several of them (as a list, a dict by id, or the rows of an array), "
    "a pandas Series, or a pandas DataFrame"
)


def read_series(data: Any, *, frequency: int = 0, columns: Columns | None = None) -> list[Series]:
    """Reads what a caller may give as series; `Client.forecast` says what that is.

    Args:
        data: The series.
        frequency: A `muserve.v1.Frequency` for all of them; 0 takes what an index of pandas says, if it does.
        columns: Of a long DataFrame.

    Raises:
        InvalidRequestError: Says what cannot be sent, and where it stands.
    """
    if _is_pandas(data, "DataFrame"):
        with extra("a DataFrame"):
            from muserve_client.calls.forecast.frames import read_frame
        found = read_frame(data, columns=columns or Columns(), frequency=frequency)
    else:
        found = [_one(id_, item, place, frequency) for id_, item, place in _items(data)]
    if not found:
        raise refused("are none; give at least one")
    return found


def _items(data: Any) -> Iterator[tuple[Any, Any, str]]:
    """Yields each series with its id and its place in the request."""
    if isinstance(data, Mapping):
        for index, (id_, item) in enumerate(data.items()):
            yield id_, item, f"series[{index}]"
    elif _is_pandas(data, "Series"):
        yield 0 if data.name is None else data.name, data, "series"
    elif _is_list(data) and (_dimensions(data) > 1 or _is_list(next(iter(data), None))):
        for index, item in enumerate(data):
            name = getattr(item, "name", None) if _is_pandas(item, "Series") else None
            yield index if name is None else name, item, f"series[{index}]"
    else:
        yield 0, data, "series"


def _one(id_: Any, data: Any, place: str, frequency: int) -> Series:
    if _is_pandas(data, "Series"):
        with extra("a pandas Series"):
            from muserve_client.calls.forecast.frames import read_pandas_series
        return read_pandas_series(data, id_=id_, frequency=frequency)
    if not _is_list(data) or _dimensions(data) != 1:
        raise refused(f"is {_shown(data)}; allowed: {_ALLOWED if place == 'series' else 'a list of numbers'}", place)
    values = _numbers(data.tolist() if hasattr(data, "tolist") else data, place)
    message = forecast_pb2.TimeSeries(id=text_of(id_), values=values)
    message.frequency = frequency  # type: ignore[assignment]
    return Series(id_, message, range(len(values)), Steps())


def _numbers(values: Sequence[Any], place: str) -> array[float]:
    """Takes numbers, NaN for what is missing."""
    try:
        return array("d", values)
    except (TypeError, OverflowError):
        return array("d", [_number(value, f"{place}[{index}]") for index, value in enumerate(values)])


def _number(value: Any, place: str) -> float:
    if value is None or type(value).__name__ == "NAType":  # of pandas, which need not be there
        return math.nan
    if not isinstance(value, Real | Decimal):
        raise refused(f"is {_shown(value)}; allowed: a number, and None or NaN where one is missing", place)
    try:
        return float(value)
    except OverflowError as error:
        raise refused("is larger than any number that can be sent", place) from error


def _is_pandas(data: Any, kind: str) -> bool:
    pandas = sys.modules.get("pandas")  # whoever has such data has imported it
    return pandas is not None and isinstance(data, getattr(pandas, kind, ()))


def _is_list(data: Any) -> bool:
    """Tells what holds values: lists, tuples, ranges, arrays; no text."""
    return _dimensions(data) > 0


def _dimensions(data: Any) -> int:
    is_list = isinstance(data, Sequence) and not isinstance(data, str | bytes)
    return int(getattr(data, "ndim", is_list))


def _shown(value: Any) -> str:
    kind = type(value).__name__
    if not isinstance(value, str | Real):
        return f"of the type {kind}"
    text = repr(value)
    return f"{text if len(text) <= _SHOWN else text[: _SHOWN - 1] + '…'} ({kind})"
