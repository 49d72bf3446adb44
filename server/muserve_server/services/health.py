"""grpc.health.v1: "" for the whole server, each service by its full name, each model as "models/<name>"."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

import grpc
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muserve_server.repository import Repository

__all__ = ["Health"]

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health(health_pb2_grpc.HealthServicer):  # type: ignore[misc]
    """The health service, in step with the repository.

    Not the ready-made servicer of grpcio-health-checking: its watches never end, so that each would hold up a drain for
    the whole grace time, and a watcher that does not read would hold up every change.
    """

    def __init__(self, task_services: Mapping[str, str], other_services: tuple[str, ...]) -> None:
        """Everything starts as NOT_SERVING.

        Args:
            task_services: Full service name to the task kind that it serves: healthy once a model of it serves.
            other_services: Full names of services that need no model.
        """
        self._task_services = task_services
        self._other_services = other_services
        self._serving: dict[str, bool] = dict.fromkeys(("", *task_services, *other_services), False)
        self._changed = asyncio.Event()
        self._draining = False
        self._closed = False

    @property
    def ready(self) -> bool:
        """Whether the server as a whole takes calls."""
        return self._serving[""]

    def update(self, repository: Repository) -> None:
        """Takes over what the repository serves now."""
        if self._draining:
            return
        serving = [entry for entry in repository.entries() if entry.lease]
        tasks = {entry.bundle.task for entry in serving if entry.bundle}
        known = dict.fromkeys((name for name in self._serving if name.startswith("models/")), False)
        known |= dict.fromkeys((f"models/{entry.name}" for entry in serving), True)
        known |= {name: task in tasks for name, task in self._task_services.items()}
        known |= dict.fromkeys(self._other_services, True)
        known[""] = bool(tasks)
        self._serving = known
        self._tell()

    def drain(self) -> None:
        """Sets everything to NOT_SERVING for good, while calls are still answered."""
        self._draining = True
        self._serving = dict.fromkeys(self._serving, False)
        self._tell()

    def close(self) -> None:
        """Ends the watches, which would otherwise never end."""
        self._closed = True
        self._tell()

    async def Check(self, request: health_pb2.HealthCheckRequest, context: Any) -> Any:
        """Gives the status of a service; see grpc.health.v1."""
        status = self._status(request.service)
        if status == _UNKNOWN:
            await context.abort(grpc.StatusCode.NOT_FOUND, f"service {request.service[:100]!r} is not known here")
        return health_pb2.HealthCheckResponse(status=status)

    async def Watch(self, request: health_pb2.HealthCheckRequest, context: Any) -> None:
        """Gives the status of a service now and whenever it changes; see grpc.health.v1."""
        sent = None
        while True:
            changed, status = self._changed, self._status(request.service)
            if status != sent:
                await context.write(health_pb2.HealthCheckResponse(status=status))
                sent = status
            elif self._closed:
                await context.abort(grpc.StatusCode.UNAVAILABLE, "the server stops")
            else:
                await changed.wait()

    def _status(self, service: str) -> int:
        serving = self._serving.get(service)
        if serving is None:
            return int(_UNKNOWN)
        return int(_SERVING if serving else _NOT_SERVING)

    def _tell(self) -> None:
        self._changed.set()
        self._changed = asyncio.Event()
