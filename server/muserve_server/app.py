"""The one place that builds the parts of a server, starts, drains and stops them."""

from __future__ import annotations

import asyncio
import logging
import os
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

from muserve.bundle import Bundle
from muserve.configuration import ConfigurationError
from muserve_server.engine import EngineError
from muserve_server.fronts import Front, FrontError, GrpcioFront, GrpcioOptions, Table, check_address, make_table
from muserve_server.interceptors import deadline_layer, error_layer, limit_layer, telemetry_layer
from muserve_server.model import LocalModel, LocalOptions
from muserve_server.offload import Offloader
from muserve_server.repository import Repository
from muserve_server.services import (
    Health,
    ModelService,
    OpenInferenceService,
    TensorLimits,
    reflection_service,
    typed_service,
)
from muserve_server.settings import Settings
from muserve_server.telemetry import HttpEndpoint, Metrics

__all__ = ["Server", "StartUpError"]

logger = logging.getLogger(__name__)

# Above max_concurrent_calls: room for health and reflection, and for refusals that say why. gRPC's own say nothing.
_SPARE_CALLS = 1000


class StartUpError(Exception):
    """The server cannot start as it is set."""


class Server:
    """One server: gRPC on one port, HTTP health and metrics on another."""

    def __init__(self, settings: Settings, options: LocalOptions | None = None, *, front: Front | None = None) -> None:
        """Builds the parts; nothing is opened yet.

        Args:
            settings: What can be set.
            options: How bundles are opened and run, if not as the settings say: for tests and embedding.
            front: Who takes the calls; grpcio's if None.

        Raises:
            ConfigurationError: The settings contradict each other.
        """
        self._settings = settings
        self._metrics = Metrics()
        options = options or settings.local_options()
        self._watch_run = options.on_run
        self._options = replace(options, on_run=self._observe_run)
        self._front: Front = front or GrpcioFront(_grpcio_options(settings))
        self._stopped = asyncio.Event()
        self._stopping: asyncio.Task[None] | None = None
        self._http: HttpEndpoint | None = None
        self._poller: asyncio.Task[None] | None = None
        self._offloader = Offloader(settings.offload_threads or os.cpu_count() or 1)
        self._long_reads = ThreadPoolExecutor(1, thread_name_prefix="read")
        self._repository = Repository(
            settings.models,
            self._load,
            settings.default_model_names(),
            settings.default_version_numbers(),
            kinds=self._options.kinds,
            on_change=self._update_health,
            max_waiting_calls=max(1, settings.max_concurrent_calls // 2),
        )
        kinds = {kind.name: kind.service for kind in self._options.kinds.values() if kind.service}
        models = ModelService(self._repository).service()
        limits = _tensor_limits(settings)
        tensors = OpenInferenceService(self._repository, lambda: self._health.ready, limits).service()
        typed = (typed_service(name, kind, self._repository) for name, kind in kinds.items())
        self._services = [*typed, models, tensors]
        self._health = Health({kind.full_name: name for name, kind in kinds.items()}, (models.name, tensors.name))
        self.grpc_port = 0
        self.http_port = 0

    @property
    def metrics(self) -> Metrics:
        """The server's metrics."""
        return self._metrics

    async def start(self) -> None:
        """Opens the ports, loads the models, begins to serve. A server that could not start is stopped.

        Raises:
            StartUpError: A port is taken, or device or models folder cannot be used as they are set.
        """
        try:
            await self._start()
        except (ConfigurationError, EngineError, FrontError) as error:
            await self.stop(drain=False)
            raise StartUpError(str(error)) from error
        except BaseException:
            await self.stop(drain=False)
            raise

    async def _start(self) -> None:
        settings = self._settings
        self._report_kinds()
        self._options.onnx.providers()  # a device that is not there would refuse every bundle
        # The port is open before the models are loaded, so that health can say NOT_SERVING.
        self.grpc_port = await self._front.open(self._table())
        self._http = self._open_http()
        self.http_port = self._http.port
        self._http.start()
        await self._repository.scan(starting=True)
        if not self._health.ready:
            logger.warning("no model serves yet", extra={"models": [str(folder) for folder in settings.models]})
        self._poller = asyncio.create_task(self._poll())
        logger.info("serving", extra={"grpc_port": self.grpc_port, "http_port": self.http_port})

    async def stop(self, *, drain: bool = True) -> None:
        """Drains and stops; returns when everything is closed. Calling it again waits for the first.

        Args:
            drain: Whether to go on serving for drain_delay_s, so that balancers notice first.
        """
        if self._stopping is None:
            self._stopping = asyncio.create_task(self._stop(drain=drain))
        await asyncio.shield(self._stopping)

    async def wait(self) -> None:
        """Returns when the server has stopped."""
        await self._stopped.wait()

    async def _stop(self, *, drain: bool) -> None:
        settings = self._settings
        self._health.drain()
        if self._poller:
            self._poller.cancel()
            await asyncio.gather(self._poller, return_exceptions=True)
        self._repository.stop_loading()
        if drain and settings.drain_delay_s:
            logger.info("draining", extra={"drain_delay_s": settings.drain_delay_s})
            await asyncio.sleep(settings.drain_delay_s)
        self._health.close()
        await self._front.close(settings.grace_s)
        await self._repository.close()
        await self._offloader.close()
        self._long_reads.shutdown(wait=False, cancel_futures=True)
        if self._http:
            await asyncio.to_thread(self._http.close)
        self._stopped.set()
        logger.info("stopped")

    def _report_kinds(self) -> None:
        kinds = self._options.kinds
        for problem in kinds.problems.values():
            logger.error("task kind passed over", extra={"reason": problem})
        if not kinds:
            raise StartUpError("no task kind is installed; install muserve-server anew: pip install 'muserve[server]'")

    def _table(self) -> Table:
        settings = self._settings
        layers = (
            telemetry_layer(self._metrics),
            error_layer,
            limit_layer(settings.max_concurrent_calls),
            deadline_layer(settings.default_deadline_s),
        )
        size = settings.max_message_mib * 2**20
        health = self._health.service()
        reflection = reflection_service([service.name for service in (*self._services, health)])
        return {
            **make_table(self._services, layers, max_response_bytes=size, long_reads=self._long_reads),
            **make_table((health, reflection), (), max_response_bytes=size, long_reads=self._long_reads),
        }

    def _open_http(self) -> HttpEndpoint:
        settings = self._settings
        check_address(settings.host, settings.http_port, setting="http_port")
        try:
            return HttpEndpoint(settings.host, settings.http_port, self._metrics, lambda: self._health.ready)
        except OSError as error:
            raise StartUpError(
                f"http_port {settings.http_port} on {settings.host} cannot be opened ({error.strerror}); "
                "choose another with --http-port"
            ) from error

    async def _load(self, folder: Path) -> LocalModel:
        return await LocalModel.open(folder, self._options, offloader=self._offloader)

    def _update_health(self) -> None:
        self._health.update(self._repository)

    def _observe_run(self, bundle: Bundle, graph: str, rows: int, seconds: float) -> None:
        self._metrics.observe_run(bundle, graph, rows, seconds)
        self._watch_run(bundle, graph, rows, seconds)

    async def _poll(self) -> None:
        while self._settings.poll_interval_s:
            await asyncio.sleep(self._settings.poll_interval_s)
            try:
                await self._repository.scan()
            except ConfigurationError as error:
                logger.error("models folder not read", extra={"reason": str(error)})  # noqa: TRY400 - no traceback
            except Exception:
                logger.exception("models folder not read")


def _grpcio_options(settings: Settings) -> GrpcioOptions:
    return GrpcioOptions(
        host=settings.host,
        port=settings.grpc_port,
        servers=settings.grpcio_servers,
        share_port=settings.reuse_port,
        max_message_bytes=settings.max_message_mib * 2**20,
        max_calls=settings.max_concurrent_calls + _SPARE_CALLS,
        max_streams=settings.max_streams,
        max_connection_age_s=settings.max_connection_age_s,
    )


def _tensor_limits(settings: Settings) -> TensorLimits:
    return TensorLimits(
        max_rows=settings.max_samples_per_call,
        max_free_size=settings.max_free_size,
        max_response_bytes=settings.max_message_mib * 2**20,
    )
