"""Limits the pixels in memory over all calls: further calls wait in turn; too many are refused."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from muserve.errors import QueueFullError

__all__ = ["PixelGate"]

_MAX_WAITING_FACTOR = 16
"""Maximum waiting pixels, as a multiple of those admitted: each waiting call holds its file."""
_RETRY_AFTER_S = 1.0


class PixelGate:
    """A semaphore over pixels: admits calls up to a total. A call that exceeds it by itself is admitted alone.

    Lives on one event loop.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._admitted = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def pixels(self) -> int:
        """Pixels of the admitted calls."""
        return self._admitted

    @property
    def waiting(self) -> int:
        """Number of waiting calls."""
        return len(self._waiting)

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Waits until the pixels are admitted; the `with` block holds them.

        Raises:
            QueueFullError: Too many pixels wait already.
        """
        await self._enter(pixels)
        try:
            yield
        finally:
            self._leave(pixels)

    async def _enter(self, pixels: int) -> None:
        if not self._waiting and self._fits(pixels):
            self._admitted += pixels
            return
        waiting, maximum = sum(each for each, _ in self._waiting), _MAX_WAITING_FACTOR * self._max_pixels
        if self._waiting and waiting + pixels > maximum:
            raise QueueFullError(
                f"images of {waiting:,} pixels wait to be translated; allowed: {maximum:,}; try again",
                retry_after_s=_RETRY_AFTER_S,
            )
        turn = asyncio.get_running_loop().create_future()
        entry = (pixels, turn)
        self._waiting.append(entry)
        try:
            await turn
        except asyncio.CancelledError:
            if turn.cancelled():
                with suppress(ValueError):  # it may have been removed already
                    self._waiting.remove(entry)
                self._admit_next()  # smaller calls behind it may fit
            else:  # admitted and cancelled at the same time
                self._leave(pixels)
            raise

    def _leave(self, pixels: int) -> None:
        self._admitted -= pixels
        self._admit_next()

    def _admit_next(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            pixels, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._admitted += pixels
                turn.set_result(None)

    def _fits(self, pixels: int) -> bool:
        return not self._admitted or self._admitted + pixels <= self._max_pixels
