"""The command `muserve-server`: reads the settings, chooses the front, and serves until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import socket
import sys
from collections.abc import Coroutine, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from muserve import __version__
from muserve.configuration import ConfigurationError
from muserve_server.app import Server, StartUpError
from muserve_server.fronts import FrontError, check_address
from muserve_server.logs import configure_logging
from muserve_server.services import service_descriptors
from muserve_server.settings import Settings, read_settings

__all__ = ["main"]

logger = logging.getLogger(__name__)

_STOP_SLACK_S = 15.0
"""What a server that stops may take beyond its drain: graphs that run are waited for."""
_FIRST_FREE = 3
"""Number of the first file that is not a standard stream."""


def main(arguments: Sequence[str] | None = None) -> None:
    """Runs a server until it is told to stop: the command `muserve-server`."""
    given = sys.argv[1:] if arguments is None else arguments
    _fill_standard_streams()
    try:
        settings = read_settings(given)
        configure_logging(settings.log_level, settings.log_format)
        models = [str(folder) for folder in settings.models]
        logger.info("starting", extra={"muserve": __version__, "models": models})
        if settings.front == "grpcio" or not _runs_envoy(settings, given):
            _run(_serve(settings))
    except (ConfigurationError, StartUpError, FrontError) as error:
        sys.exit(f"muserve-server: error: {error}")


def _fill_standard_streams() -> None:
    """Opens those of the numbers 0 to 2 that are closed: sockets that got them would end the process."""
    while (number := os.open(os.devnull, os.O_RDWR)) < _FIRST_FREE:
        pass
    os.close(number)


def _run(coroutine: Coroutine[Any, Any, None]) -> None:
    try:
        import uvloop
    except ImportError:  # not made for Windows
        asyncio.run(coroutine)
    else:
        uvloop.run(coroutine)


async def _serve(settings: Settings) -> None:
    """Serves in this process until SIGTERM or SIGINT; a second signal ends the process at once.

    Raises:
        StartUpError: The server cannot start as it is set.
    """
    loop = asyncio.get_running_loop()
    signalled = asyncio.Event()

    def on_signal() -> None:
        if signalled.is_set():
            logger.warning("stopped at once by a second signal")
            os._exit(1)
        signalled.set()
        starting.cancel()

    server = Server(settings)
    starting = asyncio.create_task(server.start())
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    try:
        await starting
    except asyncio.CancelledError:
        if not signalled.is_set():
            raise
        return  # told to stop before it had started; it has stopped itself
    await signalled.wait()
    await server.stop()


def _runs_envoy(settings: Settings, arguments: Sequence[str]) -> bool:
    """Serves behind Envoy until it is told to stop; says False at once where Envoy cannot run and need not.

    Raises:
        FrontError: Envoy cannot run and must, or ended by itself, or the server inside could not start.
    """
    from muserve_server.fronts.envoy.process import missing
    from muserve_server.fronts.envoy.supervisor import NotRunnableError

    reason = missing()
    if not reason:
        try:
            _run(_supervise(settings, arguments))
        except NotRunnableError as error:
            reason = str(error)
        else:
            return True
    if settings.front == "envoy":
        raise FrontError(f"front is 'envoy', which cannot run here: {reason}. --front grpcio runs everywhere")
    logger.info("grpcio serves, as Envoy cannot", extra={"reason": reason})
    return False


async def _supervise(settings: Settings, arguments: Sequence[str]) -> None:
    from muserve_server.fronts.envoy.config import Config, EnvoyOptions, envoy_config
    from muserve_server.fronts.envoy.descriptors import descriptor_set, json_services
    from muserve_server.fronts.envoy.process import app_filter
    from muserve_server.fronts.envoy.short_paths import find_short_paths
    from muserve_server.fronts.envoy.supervisor import supervise
    from muserve_server.inside_envoy import ARGUMENTS_VARIABLE

    addresses = check_address(settings.host, settings.grpc_port, setting="grpc_port", share_port=settings.reuse_port)
    port = settings.grpc_port or _free_port(addresses[0])
    services = service_descriptors(settings.kinds)
    short_paths = find_short_paths(services)
    for passed in short_paths.passed:
        extra = {"path": passed.path, "reason": passed.reason, "distribution": settings.kinds.origin_of(passed.service)}
        logger.warning("a short path for JSON is passed over", extra=extra)

    def config_at(admin_socket: Path) -> Config:
        return envoy_config(
            EnvoyOptions(
                addresses=addresses,
                port=port,
                share_port=settings.reuse_port,
                app_filter=app_filter("muserve_server.inside_envoy:app"),
                descriptor_set=descriptor_set(services, short_paths),
                services=json_services(services),
                admin_socket=admin_socket,
                allowed_hosts=settings.allowed_hosts,
                cors_origins=settings.cors_origins,
                max_message_bytes=settings.max_message_mib * 2**20,
                max_streams=settings.max_streams,
                max_connections=settings.max_connections,
                receive_timeout_s=settings.receive_timeout_s,
                max_connection_age_s=settings.max_connection_age_s,
                log_json=settings.log_format == "json",
            )
        )

    _raise_open_files()
    inside = json.dumps([*arguments, "--grpc-port", str(port)])
    max_stop_s = settings.drain_delay_s + settings.grace_s + _STOP_SLACK_S
    await supervise(config_at, {ARGUMENTS_VARIABLE: inside}, threads=1, log_level="warning", max_stop_s=max_stop_s)


def _free_port(address: str) -> int:
    with socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET) as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])


def _raise_open_files() -> None:
    """Lets Envoy hold as many connections as this user may: shells allow a thousand files unless asked for more."""
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
