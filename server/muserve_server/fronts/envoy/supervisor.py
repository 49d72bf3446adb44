"""Starts Envoy with the server inside it, passes signals on, and ends when either ends."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal
import socket
from asyncio.subprocess import Process
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from tempfile import TemporaryDirectory, gettempdir

from muserve_server.fronts.envoy.config import Config, as_json
from muserve_server.fronts.envoy.link import Link
from muserve_server.fronts.envoy.process import Admin, environment, envoy_path
from muserve_server.fronts.front import FrontError

__all__ = ["FOLDER_VARIABLE", "LINK_VARIABLE", "EnvoyFailedError", "NotRunnableError", "supervise"]

logger = logging.getLogger(__name__)

LINK_VARIABLE = "MUSERVE_ENVOY_LINK"
"""Holds the number of the socket that the application tells and hears through."""
FOLDER_VARIABLE = "MUSERVE_ENVOY_FOLDER"
"""Holds the folder of Envoy's files, which the application removes if this process is killed."""
_SHARED_MEMORY = "/dev/shm"  # noqa: S108
_PREFIX = "muserve-"
_ADMIN_SOCKET = "admin.sock"
_CONFIG = "envoy.json"
_MAX_SOCKET_PATH = 103
"""Of macOS, in bytes; Linux takes four more."""
_DRAINED_S = 5.0
_ENDED_S = 5.0


class NotRunnableError(FrontError):
    """Envoy did not start: it cannot run here, or refused its configuration."""


class EnvoyFailedError(FrontError):
    """Envoy ended by itself, or not when it should."""


async def supervise(
    config_at: Callable[[Path], Config],
    variables: Mapping[str, str],
    *,
    threads: int,
    log_level: str,
    max_stop_s: float,
) -> None:
    """Runs Envoy with the server inside it until SIGTERM or SIGINT; a second signal ends both at once.

    Args:
        config_at: Makes Envoy's configuration, given the file for its own interface.
        variables: Environment of the application inside.
        threads: Threads that Envoy reads and writes in.
        log_level: Least level of what Envoy logs.
        max_stop_s: How long the server inside may take to stop.

    Raises:
        NotRunnableError: Envoy did not start, or there is no folder for its files.
        EnvoyFailedError: It ended by itself later, or did not stop in time.
        FrontError: The server inside could not start; the text says why.
    """
    signals = _Signals()  # before there is anything that a signal must not leave behind
    ours, theirs = socket.socketpair()
    with ours, theirs, _files(config_at) as folder:
        signals.folder = folder
        command = (
            *(envoy_path(), "--config-path", folder / _CONFIG, "--log-level", log_level),
            *("--concurrency", str(threads), "--use-dynamic-base-id", "--disable-hot-restart", "--drain-time-s", "1"),
        )
        inherited = {LINK_VARIABLE: str(theirs.fileno()), FOLDER_VARIABLE: str(folder)}
        process = await _started(command, environment({**variables, **inherited}), theirs)
        signals.process = process
        theirs.close()
        link = await Link.over(ours)
        admin = Admin(folder / _ADMIN_SOCKET)
        try:
            await _Supervision(process, link, admin, signals.first, max_stop_s).run()
        finally:
            link.close()
            await _end(process, admin)


@contextlib.contextmanager
def _files(config_at: Callable[[Path], Config]) -> Iterator[Path]:
    """Makes a folder with Envoy's configuration, for this user alone."""
    with contextlib.ExitStack() as stack:
        try:
            folder = Path(stack.enter_context(TemporaryDirectory(prefix=_PREFIX, dir=_writable())))
            (folder / _CONFIG).write_text(as_json(config_at(folder / _ADMIN_SOCKET)), encoding="utf-8")
        except OSError as error:
            raise NotRunnableError(
                f"its files cannot be written ({error}); set TMPDIR to a folder with room"
            ) from error
        yield folder


async def _started(command: Sequence[str | Path], environ: dict[str, str], link: socket.socket) -> Process:
    try:
        return await asyncio.create_subprocess_exec(
            *command,
            env=environ,
            pass_fds=(link.fileno(),),
            start_new_session=True,  # a terminal's Ctrl-C is this process's to pass on
        )
    except OSError as error:
        raise NotRunnableError(f"its program cannot be started ({error})") from error


class _Signals:
    """SIGTERM and SIGINT: the first asks to stop, a second ends everything at once."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.folder: Path | None = None
        self.process: Process | None = None
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)

    def _on_signal(self) -> None:
        if not self.first.is_set():
            self.first.set()
            return
        logger.warning("stopped at once by a second signal")
        if self.process:
            with contextlib.suppress(ProcessLookupError):
                self.process.kill()
        if self.folder:
            shutil.rmtree(self.folder, ignore_errors=True)
        os._exit(1)


class _Supervision:
    """One run of Envoy."""

    def __init__(self, process: Process, link: Link, admin: Admin, signalled: asyncio.Event, max_stop_s: float) -> None:
        self._process = process
        self._link = link
        self._admin = admin
        self._signalled = signalled
        self._max_stop_s = max_stop_s

    async def run(self) -> None:
        ended = asyncio.create_task(self._process.wait())
        events = asyncio.create_task(self._follow())
        signalled = asyncio.create_task(self._signalled.wait())
        live = asyncio.create_task(self._admin.live())
        tasks = (ended, events, signalled, live)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            if ended.done() and not signalled.done():
                raise NotRunnableError(f"Envoy did not start ({_how(ended.result())}); what it logged says why")
            await self._link.tell("listening")
            await asyncio.wait((ended, events, signalled), return_when=asyncio.FIRST_COMPLETED)
            if signalled.done():
                await self._link.tell("stop")
                done, _ = await asyncio.wait(
                    (ended, events), timeout=self._max_stop_s, return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    self._process.kill()
                    raise EnvoyFailedError(f"Envoy did not stop within {self._max_stop_s:g} s, and was killed")
            if ended.done():
                raise EnvoyFailedError(f"Envoy ended by itself ({_how(ended.result())}), and with it the server")
            events.result()  # raises why the server could not start
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._admin.drained(), _DRAINED_S)
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self) -> None:
        """Returns once the server inside has stopped; raises why it could not start."""
        while event := await self._link.hear():
            if event["event"] == "failed":
                raise FrontError(event["reason"])
            if event["event"] == "stopped":
                return
        await self._process.wait()  # the link ends with the process


def _writable() -> str:
    """Returns the folder for temporary files or, where there is none or its path is too long, that of shared memory.

    Containers with a read-only root file system have the latter alone.

    Raises:
        NotRunnableError: Neither can be used.
    """
    with contextlib.suppress(FileNotFoundError):
        folder = gettempdir()
        if len(os.fsencode(Path(folder, f"{_PREFIX}12345678", _ADMIN_SOCKET))) <= _MAX_SOCKET_PATH:
            return folder
    if os.access(_SHARED_MEMORY, os.W_OK):
        return _SHARED_MEMORY
    raise NotRunnableError(
        "no folder for temporary files can be written to and has a path short enough for a socket; set TMPDIR to one"
    )


def _how(code: int) -> str:
    return f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"


async def _end(process: Process, admin: Admin) -> None:
    if process.returncode is None:
        await admin.quit()
        try:
            await asyncio.wait_for(process.wait(), _ENDED_S)
        except TimeoutError:
            process.kill()
            await process.wait()
