"""Steps as pandas names them. Imported where pandas is wanted."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC

import pandas as pd

from muserve_client.calls.forecast.axes import Axis, Periods, Steps

__all__ = ["index_of", "ordinals_of"]


def index_of(positions: Sequence[int], axis: Axis) -> pd.Index:
    """Names steps as pandas does: whole numbers, timestamps as they came, or periods."""
    numbers = pd.Index(positions, dtype="int64")
    if isinstance(axis, Steps):
        return numbers
    if isinstance(axis, Periods):
        return pd.PeriodIndex.from_ordinals(numbers, freq=axis.frequency)
    times = pd.to_datetime(numbers, unit="s").as_unit(axis.unit)
    return times.tz_localize(UTC).tz_convert(axis.zone) if axis.zone else times


def ordinals_of(times_unix_s: Sequence[int], axis: Periods) -> list[int]:
    """Finds the periods in which times lie, by their ordinals."""
    times = pd.to_datetime(pd.Index(times_unix_s, dtype="int64"), unit="s")
    ordinals: list[int] = times.to_period(axis.frequency).astype("int64").tolist()
    return ordinals
