"""The limits of the task kind forecast: they become flags, environment and file settings of a server."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.configuration import option
from muserve_server.limits import MAX_MESSAGE_MIB

__all__ = ["ForecastLimits"]


@dataclass(frozen=True)
class ForecastLimits:
    """Limits that are checked before memory is allocated; `muserve-server --help` explains each."""

    max_series_per_call: int = option(
        1000, "maximum series per call", unit="series", minimum=1, at_most="max_queue_rows"
    )  # fmt: skip
    max_points_per_series: int = option(
        10_000, "maximum values of one series, missing ones included", unit="values", minimum=1
    )
    max_message_mib: int = MAX_MESSAGE_MIB

    @property
    def max_answer_values(self) -> int:
        """Maximum 64-bit numbers in one answer: as many as fit into a message."""
        return self.max_message_mib * 2**20 // 8
