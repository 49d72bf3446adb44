"""The task kind forecast: its service, its limits, and what opens a bundle. The rest is imported with a bundle."""

from __future__ import annotations

from muserve.bundle import Bundle
from muserve.v1 import forecast_pb2
from muserve_server.tasks.forecast.limits import ForecastLimits
from muserve_server.tasks.kind import Task, TaskKind

__all__ = ["KIND"]


def _open(bundle: Bundle, limits: ForecastLimits) -> Task:
    from muserve_server.tasks.forecast.task import ForecastTask

    return ForecastTask(bundle, limits)


KIND = TaskKind("forecast", forecast_pb2.DESCRIPTOR.services_by_name["ForecastService"], ForecastLimits, _open)
