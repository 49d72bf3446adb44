"""grpc.health.v1: "" for the whole server, each service by its full name, each model as "models/<name>"."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping

from grpc_health.v1 import health_pb2

from muserve.errors import ModelNotFoundError, UnavailableError
from muserve_server.interceptors import CallContext
from muserve_server.repository import Repository
from muserve_server.services.service import Service

__all__ = ["Health"]

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING
_UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN


class Health:
    """The health service, in step with the repository.

    Not the ready-made servicer of grpcio-health-checking: its watches never end, so that each would hold up a drain for
    the whole grace time, and a watcher that does not read would hold up every change.
    """

    def __init__(self, task_services: Mapping[str, str], other_services: tuple[str, ...]) -> None:
        """Everything starts as NOT_SERVING.

        Args:
            task_services: Full service name to the task kind that it serves: healthy once its default model serves.
            other_services: Full names of services that need no model: healthy once the first scan is finished.
        """
        self._task_services = task_services
        self._other_services = other_services
        self._serving: dict[str, bool] = dict.fromkeys(("", *task_services, *other_services), False)
        self._changed = asyncio.Event()
        self._draining = False
        self._closed = False

    def service(self) -> Service:
        """Returns what a front serves."""
        descriptor = health_pb2.DESCRIPTOR.services_by_name["Health"]
        return Service(descriptor, {"Check": self.check, "List": self.list, "Watch": self.watch})

    @property
    def ready(self) -> bool:
        """Whether the server as a whole takes calls."""
        return self._serving[""]

    def update(self, repository: Repository) -> None:
        """Takes over what the repository serves now."""
        if self._draining:
            return
        there = {entry.name for entry in repository.entries() if entry.lease or not repository.scanned}
        serving = {name for name in there if repository.default_version(name)}
        known = dict.fromkeys((name for name in self._serving if name.startswith("models/")), False)
        known |= {f"models/{name}": name in serving for name in there}
        known |= {name: repository.default_model(task) is not None for name, task in self._task_services.items()}
        known |= dict.fromkeys(self._other_services, repository.scanned)
        known[""] = repository.scanned and bool(serving)
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

    async def check(self, request: health_pb2.HealthCheckRequest, _call: CallContext) -> health_pb2.HealthCheckResponse:
        """Gives the status of a service; see grpc.health.v1."""
        status = self._status(request.service)
        if status == _UNKNOWN:
            raise ModelNotFoundError(f"service {request.service[:100]!r} is not known here")
        return health_pb2.HealthCheckResponse(status=status)

    async def list(self, _request: health_pb2.HealthListRequest, _call: CallContext) -> health_pb2.HealthListResponse:
        """Gives the status of the server, of every service and every model; see grpc.health.v1."""
        statuses = {name: health_pb2.HealthCheckResponse(status=self._status(name)) for name in self._serving}
        return health_pb2.HealthListResponse(statuses=statuses)

    async def watch(
        self, request: health_pb2.HealthCheckRequest, _call: CallContext
    ) -> AsyncIterator[health_pb2.HealthCheckResponse]:
        """Gives the status of a service now and whenever it changes; see grpc.health.v1."""
        sent = None
        while True:
            changed, status = self._changed, self._status(request.service)
            if status != sent:
                yield health_pb2.HealthCheckResponse(status=status)
                sent = status
            elif self._closed:
                raise UnavailableError("the server stops")
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
