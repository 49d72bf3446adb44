"""One series as it is sent, and how the steps that follow it are named."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from muserve.errors import FieldViolation, InvalidRequestError
from muserve.v1 import forecast_pb2
from muserve_client.calls.forecast.axes import Axis, Periods, Times, instants, moment

__all__ = ["Columns", "Series", "refused", "text_of"]

_MAX_SENT = 10_000  # no manifest lets a model look further back, and servers take no more unless told to


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
        return max(0, len(self.message.values) - _MAX_SENT)

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
            return array("q", instants(times_unix_s, self.axis))
        if isinstance(self.axis, Periods):
            return self._continued_periods(times_unix_s, self.axis, frequency)
        first = self.positions[-1] + self.axis.step
        return range(first, first + horizon * self.axis.step, self.axis.step)

    def names(self, positions: Sequence[int]) -> list[Any]:
        """Names steps as the series names its own: times as they came, periods of pandas, or whole numbers."""
        if isinstance(self.axis, Times):
            return [moment(position, self.axis) for position in positions]
        if isinstance(self.axis, Periods):
            from muserve_client.calls.forecast.periods import index_of  # the periods came from pandas, so it is there

            return list(index_of(positions, self.axis))
        return list(positions)

    def _continued_periods(self, times_unix_s: Sequence[int], axis: Periods, frequency: str) -> Sequence[int]:
        from muserve_client.calls.forecast.periods import ordinals_of  # as above

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


def refused(description: str, field: str = "series") -> InvalidRequestError:
    """Returns the error for data that cannot be sent."""
    return InvalidRequestError(violations=[FieldViolation(field, description)])


def text_of(id_: Any) -> str:
    """Returns an id as it is sent.

    Raises:
        InvalidRequestError: It has no UTF-8 form.
    """
    text = str(id_)
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise refused(f"has the id {text!r}; lone surrogates cannot be sent, only Unicode text")
    return text
