"""Runs pure functions beside the calls, many in one go.

A hop to a thread and back costs more than encoding a small PNG. So a thread takes every job that waits, one after the
other, and hands its results back together, at least every millisecond; and short jobs stay on the event loop. There
too they run one after the other: a job between other code finds cold caches and takes twice as long.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import Any, ParamSpec, TypeVar

__all__ = ["Offloader"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")
_Job = tuple["asyncio.Future[Any]", Callable[[], Any]]
_Done = tuple["asyncio.Future[Any]", Any, BaseException | None]

_HAND_BACK_AFTER_S = 0.001


class Offloader:
    """A few threads for encoding and decoding. Lives on one event loop."""

    def __init__(self, threads: int) -> None:
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="offload")
        self._idle = threads
        self._waiting: deque[_Job] = deque()
        self._soon: list[_Job] = []
        self._closed = False

    async def run(
        self, function: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Runs a function in a thread and returns what it returns, or raises what it raises.

        Raises:
            RuntimeError: The offloader is closed.
        """
        if self._closed:
            raise RuntimeError("the offloader is closed")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        self._waiting.append((future, partial(function, *args, **kwargs)))
        self._wake(loop)
        return await future

    async def run_soon(
        self, function: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Runs a short function on the event loop, once all that is ready now has had its turn."""
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Result] = loop.create_future()
        if not self._soon:
            loop.call_soon(self._run_soon)
        self._soon.append((future, partial(function, *args, **kwargs)))
        return await future

    async def close(self) -> None:
        """Takes no more jobs, and ends the threads once those that came are done."""
        self._closed = True
        await asyncio.to_thread(self._threads.shutdown)
        while self._waiting:  # came after the last thread had looked
            future, _ = self._waiting.popleft()
            future.cancel()

    def _wake(self, loop: asyncio.AbstractEventLoop) -> None:
        if self._idle and self._waiting and not self._closed:
            self._idle -= 1
            self._threads.submit(self._work, loop)

    def _work(self, loop: asyncio.AbstractEventLoop) -> None:
        """In a thread: takes jobs until none waits."""
        done: list[_Done] = []
        handed_back = time.monotonic()
        while self._waiting:
            try:
                future, job = self._waiting.popleft()
            except IndexError:  # another thread was faster
                break
            if future.cancelled():
                continue
            done.append(_do(future, job))
            now = time.monotonic()
            if now - handed_back > _HAND_BACK_AFTER_S:
                loop.call_soon_threadsafe(_hand_back, done)
                done, handed_back = [], now
        loop.call_soon_threadsafe(self._rest, loop, done)

    def _run_soon(self) -> None:
        jobs, self._soon = self._soon, []
        _hand_back([_do(future, job) for future, job in jobs if not future.cancelled()])

    def _rest(self, loop: asyncio.AbstractEventLoop, done: list[_Done]) -> None:
        _hand_back(done)
        self._idle += 1
        self._wake(loop)  # for what came after the thread had looked


def _do(future: asyncio.Future[Any], job: Callable[[], Any]) -> _Done:
    try:
        return future, job(), None
    except StopIteration as error:  # a future cannot hold one
        return future, None, RuntimeError(f"a job raised {error!r}")
    except BaseException as error:  # noqa: BLE001 - handed to whoever awaits the job
        return future, None, error


def _hand_back(done: list[_Done]) -> None:
    for future, result, error in done:
        if future.done():
            continue
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)
