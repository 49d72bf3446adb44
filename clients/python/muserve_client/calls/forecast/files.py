"""Reads series from CSV and Parquet files into DataFrames, in any common form. Needs pandas."""

from __future__ import annotations

import csv
import io
import re
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pandas as pd
from pandas.tseries.api import guess_datetime_format

from muserve.configuration import ConfigurationError, nearest
from muserve_client.calls.forecast.frames import is_long
from muserve_client.calls.forecast.series import Columns

__all__ = ["choose_ids", "read_table"]

_PARQUET = (".parquet", ".pq")
_SEPARATORS = (",", ";", "\t")
_DECIMAL_COMMA = re.compile(r"\d,\d")


def read_table(path: Path, columns: Columns) -> pd.DataFrame:
    """Reads a file in long form, wide form (times first, then a column a series), or of a single column.

    Args:
        path: Parquet by its ending, or else CSV: separated by commas, semicolons (numbers may then have
            decimal commas) or tabs, with a header or without.
        columns: Of the long form.

    Returns:
        A DataFrame as `Client.forecast` takes it. Where lines have numbers, its index has them, under the name "line".

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        frame = pd.read_parquet(path) if path.suffix.lower() in _PARQUET else _read_csv(path, columns)
    except OSError as error:
        raise ConfigurationError(f"{path}: cannot be read ({error.strerror or error})") from error
    except ValueError as error:  # also what pandas and pyarrow raise for a file that is none of theirs
        raise ConfigurationError(f"{path}: cannot be read ({str(error).strip()})") from error
    if frame.empty:
        raise ConfigurationError(f"{path}: has no rows")
    is_numbered = isinstance(frame.index, pd.RangeIndex) or frame.index.name == "line"
    if is_long(frame, columns) or not is_numbered:
        return frame
    if len(frame.columns) == 1:
        return frame.set_axis(pd.RangeIndex(1, len(frame) + 1, name="row"))
    return frame.set_index(frame.columns[0])


def choose_ids(frame: pd.DataFrame, ids: Sequence[str], columns: Columns) -> pd.DataFrame:
    """Keeps some of a table's series.

    Raises:
        ConfigurationError: There is no such series.
    """
    has_ids = is_long(frame, columns)
    if has_ids and columns.id not in frame.columns:
        raise ConfigurationError(f"--ids needs the column {columns.id!r}; the file has none, so it is one series")
    texts = (frame[columns.id] if has_ids else frame.columns.to_series()).astype(str)
    known = texts.unique().tolist()
    for id_ in ids:
        if id_ not in known:
            raise ConfigurationError(f"--ids has {id_!r}; {nearest(id_, known)}")
    chosen = texts.isin(ids).to_numpy()
    return frame[chosen] if has_ids else frame.loc[:, chosen]


def _read_csv(path: Path, columns: Columns) -> pd.DataFrame:
    text = path.read_text(encoding="utf-8-sig")
    lines = [number for number, line in enumerate(text.splitlines(), start=1) if line.strip()]
    if not lines:
        raise ValueError("it is empty")
    first, *more = (text.splitlines()[number - 1] for number in lines[:2])
    separator = max(_SEPARATORS, key=first.count)
    cells, *others = csv.reader([first, *more], delimiter=separator)
    has_header = not all(_is_value(cell) for cell in cells) or _is_numbered(cells, *others)
    form: dict[str, Any] = {
        "sep": separator,
        "header": 0 if has_header else None,
        "names": None if has_header else _names(len(cells), path.stem),
        "skipinitialspace": True,
        "decimal": "," if separator == ";" and _DECIMAL_COMMA.search(text) else ".",
    }
    frame = pd.read_csv(io.StringIO(text), **form)
    if columns.id in frame.columns:  # neither "007" nor "NA" is to become something else
        as_text = pd.read_csv(io.StringIO(text), usecols=[columns.id], dtype=str, keep_default_na=False, **form)
        frame[columns.id] = as_text[columns.id]
    if not frame.index.equals(pd.RangeIndex(len(frame))):  # pandas took the first cells for an index
        raise ValueError(f"its rows have more cells than the first line, which has {len(cells)}")
    numbers = lines[1:] if has_header else lines
    if len(numbers) == len(frame):  # else cells hold line breaks
        frame.index = pd.Index(numbers, name="line")
    return frame


def _names(count: int, file: str) -> list[str]:
    """Names the columns of a file without a header: a single series is called as the file."""
    series = [file] if count <= 2 else [str(number) for number in range(1, count)]
    return series if count == 1 else ["time", *series]


def _is_numbered(cells: list[str], below: Sequence[str] = ()) -> bool:
    """Whether numbers are headings: nothing stands above the dates, or pandas's own numbers of columns follow."""
    if cells[0].strip() or len(cells) == 1 or not below:
        return False
    return _is_date(below[0]) or cells[1:] == [str(number) for number in range(len(cells) - 1)]


def _is_value(cell: str) -> bool:
    """Whether a cell holds a number or a date, as no heading does."""
    try:
        float(cell)
    except ValueError:
        return not cell.strip() or _is_date(cell)
    return True


def _is_date(cell: str) -> bool:
    with warnings.catch_warnings():  # whether day or month is first does not matter here
        warnings.simplefilter("ignore", UserWarning)
        return guess_datetime_format(cell.strip()) is not None
