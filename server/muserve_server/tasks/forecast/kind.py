"""The task kind forecast: its service and its limits. What does the work is imported with the first bundle."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.bundle import Bundle
from muserve.configuration import option
from muserve.v1 import forecast_pb2
from muserve_server.limits import MAX_MESSAGE_MIB
from muserve_server.tasks.kind import Task, TaskKind

__all__ = ["KIND", "ForecastLimits"]


@dataclass(frozen=True)
class ForecastLimits:
    """What is checked before memory is taken; `muserve-server --help` explains each."""

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


def _open(bundle: Bundle, limits: ForecastLimits) -> Task:
    from muserve_server.tasks.forecast.task import ForecastTask

    return ForecastTask(bundle, limits)


KIND = TaskKind("forecast", forecast_pb2.DESCRIPTOR.services_by_name["ForecastService"], ForecastLimits, _open)
