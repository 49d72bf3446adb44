"""The server inside Envoy's process: what Envoy loads as its application. See `muserve_server.command`."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import shutil
import socket
from typing import Any

from muserve.configuration import ConfigurationError
from muserve_server.app import Server, StartUpError
from muserve_server.fronts.envoy.asgi import AsgiFront
from muserve_server.fronts.envoy.link import Link
from muserve_server.fronts.envoy.supervisor import FOLDER_VARIABLE, LINK_VARIABLE
from muserve_server.logs import configure_logging
from muserve_server.settings import read_settings

__all__ = ["ARGUMENTS_VARIABLE", "app"]

logger = logging.getLogger(__name__)

ARGUMENTS_VARIABLE = "MUSERVE_ENVOY_ARGUMENTS"
"""Holds the command line that the server was started with, as JSON."""


class InsideEnvoy:
    """An ASGI application that is a whole server: Envoy is its front."""

    def __init__(self) -> None:
        self._front: AsgiFront | None = None
        self._running: asyncio.Task[None] | None = None

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers a request, or starts with Envoy; see the specification of ASGI."""
        if scope["type"] == "lifespan":
            await self._live(receive, send)
        elif self._front:
            await self._front(scope, receive, send)

    async def _live(self, receive: Any, send: Any) -> None:
        await receive()
        settings = read_settings(json.loads(os.environ[ARGUMENTS_VARIABLE]))
        configure_logging(settings.log_level, settings.log_format)
        for name in ("LD_PRELOAD", "DYLD_INSERT_LIBRARIES"):
            os.environ.pop(name, None)  # for Envoy, not for what may be started from here
        link = await Link.over(socket.socket(fileno=int(os.environ[LINK_VARIABLE])))
        orders = _Orders(link)
        size = settings.max_message_mib * 2**20
        self._front = AsgiFront(settings.grpc_port, orders.listening.wait, max_message_bytes=size)
        self._running = asyncio.create_task(_serve(Server(settings, front=self._front), link, orders))
        # At once: Envoy opens the port only then, and health must be able to say NOT_SERVING while models load.
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})


class _Orders:
    """What the process outside has said."""

    def __init__(self, link: Link) -> None:
        self.listening = asyncio.Event()
        self.stop = asyncio.Event()
        self._hearing = asyncio.create_task(self._hear(link))

    async def _hear(self, link: Link) -> None:
        while order := await link.hear():
            getattr(self, order["event"]).set()
        if self.stop.is_set():
            return
        logger.error("the process that started Envoy has ended, and with it the server")
        shutil.rmtree(os.environ[FOLDER_VARIABLE], ignore_errors=True)
        os._exit(1)


async def _serve(server: Server, link: Link, orders: _Orders) -> None:
    """Serves until the process outside says stop."""
    starting = asyncio.create_task(server.start())
    stop = asyncio.create_task(orders.stop.wait())
    await asyncio.wait((starting, stop), return_when=asyncio.FIRST_COMPLETED)
    if not starting.done():
        starting.cancel()  # it stops itself then
    try:
        await starting
        await stop
        await server.stop()
    except (ConfigurationError, StartUpError) as error:
        await link.tell("failed", reason=str(error))
    except asyncio.CancelledError:
        await link.tell("stopped")  # before it had started
    except Exception as error:
        logger.exception("the server failed")
        await link.tell("failed", reason=f"{type(error).__name__}: {error}")
    else:
        await link.tell("stopped")


app = InsideEnvoy()
