"""grpc.health.v1: "" for the whole server, each service by its full name, each model as "models/<name>"."""

from __future__ import annotations

from collections.abc import Mapping

from grpc_health.v1 import health_pb2
from grpc_health.v1.health import aio as health_aio

from muserve.v1 import common_pb2
from muserve_server.repository import Repository

__all__ = ["Health"]

_SERVING = health_pb2.HealthCheckResponse.SERVING
_NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


class Health:
    """Keeps the health service in step with the repository."""

    def __init__(self, task_services: Mapping[str, int], other_services: tuple[str, ...]) -> None:
        """Stores its parts.

        Args:
            task_services: Full service name to the task that it serves: healthy once a model of it serves.
            other_services: Full names of services that need no model.
        """
        self.servicer = health_aio.HealthServicer()
        self._task_services = task_services
        self._other_services = other_services
        self._known: dict[str, bool] = {}
        self._draining = False

    @property
    def ready(self) -> bool:
        """Whether the server as a whole takes calls."""
        return self._known.get("", False)

    async def start(self) -> None:
        """Sets everything to NOT_SERVING, which the health service itself would not."""
        for name in ("", *self._task_services, *self._other_services):
            await self._set(name, serving=False)

    async def update(self, repository: Repository) -> None:
        """Takes over what the repository serves now."""
        if self._draining:
            return
        serving = [entry for entry in repository.entries() if entry.lease]
        tasks = {entry.bundle.manifest.task for entry in serving if entry.bundle}
        names = {f"models/{entry.name}" for entry in serving}
        for name in {name for name in self._known if name.startswith("models/")} | names:
            await self._set(name, serving=name in names)
        for name, task in self._task_services.items():
            await self._set(name, serving=task in tasks)
        for name in self._other_services:
            await self._set(name, serving=True)
        await self._set("", serving=bool(tasks - {common_pb2.TASK_UNSPECIFIED}))

    async def drain(self) -> None:
        """Sets everything to NOT_SERVING for good, while calls are still answered."""
        self._draining = True
        for name in list(self._known):
            await self._set(name, serving=False)

    async def _set(self, name: str, *, serving: bool) -> None:
        if self._known.get(name) is not serving:
            self._known[name] = serving
            await self.servicer.set(name, _SERVING if serving else _NOT_SERVING)
