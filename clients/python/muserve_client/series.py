"""Series as they are sent: read from lists, dicts and arrays, with the way in which their steps are named.

Needs neither NumPy nor pandas; `muserve_client.frames` reads what pandas holds.
"""

from __future__ import annotations

import itertools
import math
import sys
from array import array
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from decimal import Decimal
from numbers import Real
from typing import Any, TypeAlias

from muserve.errors import FieldViolation, InvalidRequestError
from muserve.v1 import forecast_pb2
from muserve_client.extras import extra

__all__ = ["Axis", "Columns", "Periods", "Series", "Steps", "Times", "moment", "read_series", "refused", "text_of"]

_EPOCH = datetime(1970, 1, 1)
_SHOWN = 40
_MOST_SENT = 10_000  # no manifest lets a model look further back, and servers take no more unless told to
_ALLOWED = (
    "a list or array of numbers, several of them (as a list, a dict by id, or the rows of an array), "
    "a pandas Series, or a pandas DataFrame"
)


@dataclass(frozen=True)
class Steps:
    """Steps are counted; a position is the step's number."""

    step: int = 1
    """Distance of two neighbours."""


@dataclass(frozen=True)
class Times:
    """Steps have timestamps; a position is seconds since 1970-01-01 00:00 UTC."""

    zone: tzinfo | None = None
    """In which they came; None: without a zone, which is taken as UTC."""
    is_local: bool = False
    """All have the same time of day in the zone: steps are of its calendar, and its clock is what is sent."""
    unit: str = "us"
    """Resolution that pandas kept them in."""


@dataclass(frozen=True)
class Periods:
    """Steps are periods of pandas; a position is the period's ordinal."""

    frequency: str
    """Of the periods: "M"."""
    step: int = 1
    """Distance of two neighbours in ordinals."""


Axis: TypeAlias = Steps | Times | Periods
"""How the steps of a series are named."""


@dataclass(frozen=True)
class Columns:
    """Which columns of a long DataFrame hold what."""

    id: str = "unique_id"
    time: str = "ds"
    value: str = "y"


@dataclass(frozen=True, eq=False)
class Series:
    """One series, ready to be sent."""

    id: Any
    """As the caller gave it; text of it is sent."""
    message: forecast_pb2.TimeSeries
    """All of it, in the form of the wire; of long ones only the newest values are sent."""
    positions: Sequence[int]
    """One a value, rising; the axis says what they mean."""
    axis: Axis
    """How the steps are named."""

    @property
    def left_out(self) -> int:
        """How many of the oldest values are not sent."""
        return max(0, len(self.message.values) - _MOST_SENT)

    def newest(self) -> forecast_pb2.TimeSeries:
        """Returns what is sent: the newest values, as many as a model may look at."""
        if not self.left_out:
            return self.message
        values, times = self.message.values[self.left_out :], self.message.times_unix_s[self.left_out :]
        return forecast_pb2.TimeSeries(
            id=self.message.id, values=values, times_unix_s=times, frequency=self.message.frequency
        )

    def continued(self, times_unix_s: Sequence[int], horizon: int, frequency: str) -> Sequence[int]:
        """Returns the positions of the steps that follow.

        Args:
            times_unix_s: What the server says of them; empty if the series was sent without times.
            horizon: How many there are.
            frequency: That of the steps, which need not be that of the periods: "monthly".

        Raises:
            InvalidRequestError: The series has periods, and two steps fall on one of them.
        """
        if isinstance(self.axis, Times):
            return array("q", _instants(times_unix_s, self.axis))
        if isinstance(self.axis, Periods):
            return self._continued_periods(times_unix_s, self.axis, frequency)
        first = self.positions[-1] + self.axis.step
        return range(first, first + horizon * self.axis.step, self.axis.step)

    def names(self, positions: Sequence[int]) -> list[Any]:
        """Names steps as the series names its own: times as they came, periods of pandas, or whole numbers."""
        if isinstance(self.axis, Times):
            return [moment(position, self.axis) for position in positions]
        if isinstance(self.axis, Periods):
            from muserve_client.frames import index_of  # the periods came from pandas, so it is there

            return list(index_of(positions, self.axis))
        return list(positions)

    def _continued_periods(self, times_unix_s: Sequence[int], axis: Periods, frequency: str) -> Sequence[int]:
        from muserve_client.frames import ordinals_of  # as above

        positions = ordinals_of(times_unix_s, axis)
        for before, position in itertools.pairwise([self.positions[-1], *positions]):
            if position - before < axis.step:
                (name,) = self.names([before])
                raise refused(
                    f"{self.id!r} has the periods {axis.frequency!r}, too long for the frequency {frequency!r}: two "
                    f"{frequency} steps would fall on {name}. Leave the frequency out, or give shorter periods",
                    "frequency",
                )
        return positions


def moment(position: int, axis: Times) -> datetime:
    """Turns a position into a time: in the axis's zone, or without one as it came."""
    naive = _EPOCH + timedelta(seconds=position)
    return naive.replace(tzinfo=UTC).astimezone(axis.zone) if axis.zone else naive


def refused(description: str, field: str = "series") -> InvalidRequestError:
    """Returns the error for data that cannot be sent."""
    return InvalidRequestError(violations=[FieldViolation(field, description)])


def read_series(data: Any, *, frequency: int = 0, columns: Columns = Columns()) -> list[Series]:
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
            from muserve_client.frames import read_frame
        found = read_frame(data, columns=columns, frequency=frequency)
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
            from muserve_client.frames import read_pandas_series
        return read_pandas_series(data, id_=id_, frequency=frequency)
    if not _is_list(data) or _dimensions(data) != 1:
        raise refused(f"is {_shown(data)}; allowed: {_ALLOWED if place == 'series' else 'a list of numbers'}", place)
    values = _numbers(data.tolist() if hasattr(data, "tolist") else data, place)
    message = forecast_pb2.TimeSeries(id=text_of(id_), values=values)
    message.frequency = frequency  # type: ignore[assignment]
    return Series(id_, message, range(len(values)), Steps())


def text_of(id_: Any) -> str:
    """Returns an id as it is sent.

    Raises:
        InvalidRequestError: It has no UTF-8 form.
    """
    text = str(id_)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise refused(f"has the id {text!r}; lone surrogates cannot be sent, only Unicode text")
    return text


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


def _instants(times_unix_s: Sequence[int], axis: Times) -> Sequence[int]:
    """Turns the zone's clock, where that was sent, back into true times."""
    if not axis.is_local or axis.zone is None:
        return times_unix_s
    # pytz, of which pandas 2 makes its zones, has its own way to say which offset holds.
    place = getattr(axis.zone, "localize", lambda clock: clock.replace(tzinfo=axis.zone))
    return [int(place(_EPOCH + timedelta(seconds=seconds)).timestamp()) for seconds in times_unix_s]


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
