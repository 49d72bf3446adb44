"""Real servers for tests: in this process, in a thread of it, or as processes of their own. Ports are always free."""

from __future__ import annotations

import asyncio
import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from muserve_server.app import Server
from muserve_server.fronts.envoy.process import missing
from muserve_server.model import LocalOptions
from muserve_server.settings import build_settings
from tests.server.waiting import WAIT_S

__all__ = ["FRONTS", "ServerLog", "ServerProcess", "server_process", "serving", "serving_in_thread", "unassigned_port"]

_QUICK: dict[str, Any] = {
    "grpc_port": 0,
    "http_port": 0,
    "drain_delay_s": 0.0,
    "grace_s": 5.0,
    "poll_interval_s": 0.0,
    "engine_threads": 1,
}
START_TIMEOUT_S = 200

FRONTS = ("grpcio", pytest.param("envoy", marks=pytest.mark.skipif(bool(missing()), reason=missing())))
"""Who may speak HTTP/2: for tests of what is the same behind both. Mark them `fronts`."""


@asynccontextmanager
async def serving(models: Path, *, options: LocalOptions | None = None, **settings: Any) -> AsyncIterator[Server]:
    """A started server on this event loop; stopped at the end."""
    kinds = options.kinds if options else None
    server = Server(build_settings(_QUICK, {"models": models}, settings, kinds=kinds), options)
    await server.start()
    try:
        yield server
    finally:
        await server.stop(drain=False)


@contextmanager
def serving_in_thread(models: Path, *, options: LocalOptions | None = None, **settings: Any) -> Iterator[Server]:
    """A started server on an event loop in a thread of its own: for synchronous clients."""
    started: queue.Queue[Server | BaseException] = queue.Queue()
    loop = asyncio.new_event_loop()
    finish = asyncio.Event()

    async def run() -> None:
        try:
            async with serving(models, options=options, **settings) as server:
                started.put(server)
                await finish.wait()
        except BaseException as error:
            started.put(error)
            raise

    thread = threading.Thread(target=lambda: loop.run_until_complete(run()))
    thread.start()
    try:
        server = started.get(timeout=START_TIMEOUT_S)
        if isinstance(server, BaseException):
            raise server
        yield server
    finally:
        loop.call_soon_threadsafe(finish.set)
        thread.join()
        loop.close()


class ServerProcess:
    """A `muserve-server` process."""

    def __init__(self, process: subprocess.Popen[str], grpc_port: int, http_port: int, log: Sequence[str]) -> None:
        self.process = process
        self.log = log
        self.grpc_port = grpc_port
        self.http_port = http_port

    def terminate(self) -> None:
        """Sends SIGTERM: the server drains."""
        self.process.send_signal(signal.SIGTERM)

    def wait(self, timeout_s: float = 200) -> int:
        """Returns the exit code."""
        return self.process.wait(timeout_s)


class ServerLog:
    """What a server writes in JSON, read in a thread."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.lines: list[str] = []
        self._process = process
        self._serving: queue.Queue[dict[str, Any] | None] = queue.Queue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def ports(self) -> tuple[int, int]:
        """Waits until it serves; its ports for gRPC and HTTP."""
        line = self._serving.get(timeout=START_TIMEOUT_S)
        if line is None:
            raise RuntimeError("the server did not start:\n" + "".join(self.lines))
        return line["grpc_port"], line["http_port"]

    def close(self) -> None:
        """Reads what is left of a process that has ended."""
        self._reader.join(WAIT_S)
        if self._reader.is_alive():
            raise RuntimeError("what the server started has outlived it:\n" + "".join(self.lines))
        if self._process.stderr is not None:
            self._process.stderr.close()

    def _read(self) -> None:
        assert self._process.stderr is not None
        for line in self._process.stderr:
            self.lines.append(line)
            if '"serving"' in line:
                self._serving.put(json.loads(line))
        self._serving.put(None)


@contextmanager
def server_process(
    models: Path | str,
    *flags: str,
    front: str = "",
    environ: dict[str, str] | None = None,
    program: Path | None = None,
) -> Iterator[ServerProcess]:
    """A server as users start it; killed at the end if it still runs.

    Args:
        models: The folder of its models.
        flags: Further flags.
        front: Who speaks HTTP/2, of FRONTS; left unsaid, the server chooses.
        environ: Added to the environment.
        program: The command `muserve-server` of another environment.
    """
    start = [str(program)] if program else [sys.executable, "-m", "muserve_server"]
    ports = ["--grpc-port", "0", "--http-port", "0"]
    command = [*start, "--models", str(models), *ports, "--log-format", "json", *flags]
    command += ["--front", front] if front else []
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env={**os.environ, **(environ or {})})
    log = ServerLog(process)
    try:
        yield ServerProcess(process, *log.ports(), log.lines)
    finally:
        if process.poll() is None:
            process.kill()
        process.wait()
        log.close()


def unassigned_port() -> int:
    """A free port below those that systems give out, for a server that starts later: no other test is given it."""
    for port in range(20_000 + os.getpid() * 97 % 10_000, 32_000):  # neighbouring workers begin far apart
        with socket.socket() as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port
    raise RuntimeError("no port is free between 20,000 and 32,000")
