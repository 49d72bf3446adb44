"""How the steps of a series are named: counted, by timestamps, or by periods. Needs neither NumPy nor pandas."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from typing import TypeAlias

__all__ = ["Axis", "Periods", "Steps", "Times", "instants", "moment"]

_EPOCH = datetime(1970, 1, 1)


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


def moment(position: int, axis: Times) -> datetime:
    """Turns a position into a time: in the axis's zone, or without one as it came."""
    naive = _EPOCH + timedelta(seconds=position)
    return naive.replace(tzinfo=UTC).astimezone(axis.zone) if axis.zone else naive


def instants(times_unix_s: Sequence[int], axis: Times) -> Sequence[int]:
    """Turns the zone's clock, where that was sent, back into true times."""
    if not axis.is_local or axis.zone is None:
        return times_unix_s
    # pytz, of which pandas 2 makes its zones, has its own way to say which offset holds.
    place = getattr(axis.zone, "localize", lambda clock: clock.replace(tzinfo=axis.zone))
    return [int(place(_EPOCH + timedelta(seconds=seconds)).timestamp()) for seconds in times_unix_s]
