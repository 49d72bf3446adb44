"""Calls that wait until the model that they ask for is ready: within their deadline, and not while stopping."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable

from muserve.errors import UnavailableError
from muserve_server.repository.entry import Lease

__all__ = ["StillLoadingError", "WaitingCalls"]

_RETRY_AFTER_S = 1.0
_SHARE_OF_DEADLINE = 0.9
"""How much of its time a call may wait. In the rest its caller learns why it failed, and can try another server."""


class StillLoadingError(UnavailableError):
    """It is not settled yet what answers; the text says what is loading."""

    def __init__(self, message: str) -> None:
        super().__init__(message, retry_after_s=_RETRY_AFTER_S)


class WaitingCalls:
    """The calls of one server that wait. Lives on one event loop."""

    def __init__(self, max_calls: int) -> None:
        """Stores its limit.

        Args:
            max_calls: How many may wait at a time. Further ones fail at once, so that they do not take the places of
                calls of models that are ready.
        """
        self._max_calls = max_calls
        self._calls = 0
        self._changed = asyncio.Event()
        self._closed = False

    async def until_found(self, find: Callable[[], Lease], deadline: float) -> Lease:
        """Calls a function now and after each change until it returns what it finds.

        Args:
            find: Raises StillLoadingError where another try may find it; its other errors end the wait.
            deadline: The call's, on the clock of `time.monotonic`.

        Raises:
            UnavailableError: Most of the call's time is over, too many calls wait, or the server is stopping.
        """
        try:
            return find()
        except StillLoadingError as error:
            loading = error
        self._check(loading)
        timeout_s = None if deadline == math.inf else (deadline - time.monotonic()) * _SHARE_OF_DEADLINE
        self._calls += 1
        try:
            async with asyncio.timeout(timeout_s):
                while True:
                    await self._changed.wait()
                    try:
                        return find()
                    except StillLoadingError as error:
                        loading = error
                    self._check(loading, waiting=True)
        except TimeoutError:
            raise StillLoadingError(f"{loading.message}; it took longer than the call could wait: try again") from None
        finally:
            self._calls -= 1

    def wake(self) -> None:
        """Lets waiting calls look again."""
        self._changed.set()
        self._changed = asyncio.Event()

    def close(self) -> None:
        """Ends the calls that wait, and lets none wait any more."""
        self._closed = True
        self.wake()

    def _check(self, loading: StillLoadingError, *, waiting: bool = False) -> None:
        if self._closed:
            raise StillLoadingError(f"{loading.message}, and the server is stopping: try again")
        if self._calls >= self._max_calls and not waiting:
            raise StillLoadingError(f"{loading.message}, and {self._calls} calls wait already: try again")
