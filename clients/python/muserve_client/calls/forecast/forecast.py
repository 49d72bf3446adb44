"""One series continued."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from muserve.v1 import forecast_pb2
from muserve_client.calls.forecast.axes import Periods, Times, moment
from muserve_client.calls.forecast.frequencies import frequency_name
from muserve_client.calls.forecast.series import Series

__all__ = ["Forecast", "read_forecast"]


@dataclass(frozen=True)
class Forecast:
    """One series continued."""

    id: Any
    """The series' id as it was given: its key, name, `unique_id` or column; of a list, its index."""
    frequency: str
    """The frequency that was used: "monthly"."""
    point: tuple[float, ...]
    """The median or the mean, one a step."""
    quantiles: Mapping[float, tuple[float, ...]]
    """Each level that was asked for, rising, with one value a step."""
    direct_steps: int
    """How many of the steps the model gave in one run. Those after them were rolled out: the model was fed its own
    medians, so their quantiles are less certain."""
    experimental: bool
    """Whether the model's support of this frequency is experimental."""
    history: Series = field(repr=False, compare=False)
    """The series that was sent."""
    positions: Sequence[int] = field(repr=False, compare=False)
    """One a step; `history.axis` says what they mean."""

    @property
    def is_rolled_out(self) -> bool:
        """Whether any step was rolled out."""
        return self.direct_steps < len(self.point)

    @property
    def times(self) -> tuple[datetime, ...] | None:
        """The times of the steps in UTC, of periods their starts; None if the series has no timestamps."""
        axis = self.history.axis
        if isinstance(axis, Times):
            return tuple(moment(position, Times(UTC)) for position in self.positions)
        if isinstance(axis, Periods):
            return tuple(start.to_timestamp().tz_localize(UTC).to_pydatetime() for start in self.ds)
        return None

    @property
    def ds(self) -> list[Any]:
        """What the steps are called, in the form of the series' own: times, periods of pandas, or whole numbers."""
        return self.history.names(self.positions)


def read_forecast(series: Series, answer: forecast_pb2.SeriesForecast) -> Forecast:
    """Reads the wire's form of one series' forecast."""
    return Forecast(
        id=series.id,
        frequency=frequency_name(answer.frequency),
        point=tuple(answer.point),
        quantiles={quantile.level: tuple(quantile.values) for quantile in answer.quantiles},
        direct_steps=answer.direct_steps,
        experimental=answer.experimental,
        history=series,
        positions=series.continued(answer.times_unix_s, len(answer.point), frequency_name(answer.frequency)),
    )
