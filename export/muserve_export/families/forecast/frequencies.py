"""The frequencies that a global network knows: seasons, how much past they need, how far they go."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.v1 import forecast_pb2
from muserve_export.families.forecast.config import FREQUENCY_NAMES

__all__ = ["FREQUENCIES", "HORIZON_STEPS", "Frequency", "frequency_named"]


@dataclass(frozen=True)
class Frequency:
    """One frequency."""

    name: str
    """As in the configuration: "monthly"."""
    periods: tuple[int, ...]
    """Lengths of the seasons in steps, the shortest first."""
    context_steps: int
    """Newest steps that are looked at; a multiple of each period."""
    horizon_steps: int
    """Steps that are learnt, and held out."""
    least_steps: int
    """Fewest steps of a training window."""
    experimental: bool = False
    """Learnt from made series only."""

    @property
    def number(self) -> forecast_pb2.Frequency:
        """The `muserve.v1.Frequency`."""
        return forecast_pb2.Frequency.Value(f"FREQUENCY_{self.name.upper()}")  # type: ignore[return-value]

    @property
    def index(self) -> int:
        """Its place among all."""
        return FREQUENCY_NAMES.index(self.name)


FREQUENCIES = (
    Frequency("yearly", (), 36, 6, 5),
    Frequency("quarterly", (4,), 48, 8, 6),
    Frequency("monthly", (12,), 120, 18, 15),
    Frequency("weekly", (52,), 156, 13, 30, experimental=True),
    Frequency("daily", (7,), 112, 14, 21, experimental=True),
    Frequency("hourly", (24, 168), 672, 24, 72, experimental=True),
    Frequency("other", (), 48, 8, 8),
)
"""In the order of their index."""

HORIZON_STEPS = max(frequency.horizon_steps for frequency in FREQUENCIES)
"""Steps that the network gives for each."""


def frequency_named(name: str) -> Frequency:
    """Returns a frequency by name."""
    return FREQUENCIES[FREQUENCY_NAMES.index(name)]
