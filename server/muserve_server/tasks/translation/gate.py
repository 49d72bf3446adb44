"""Bounds how many pixels are held at a time, over all calls: those beyond wait in turn; too many are refused."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

from muserve.errors import QueueFullError

__all__ = ["PixelGate"]

_WAITING = 16
"""How many times the pixels inside may wait: each call that does holds its file."""
_RETRY_AFTER_S = 1.0


class PixelGate:
    """Lets calls in while their pixels are within a bound. One that is larger by itself is let in alone.

    Lives on one event loop.
    """

    def __init__(self, max_pixels: int) -> None:
        self._max_pixels = max_pixels
        self._inside = 0
        self._waiting: deque[tuple[int, asyncio.Future[None]]] = deque()

    @property
    def pixels(self) -> int:
        """Pixels of those inside."""
        return self._inside

    @property
    def waiting(self) -> int:
        """How many calls wait."""
        return len(self._waiting)

    @asynccontextmanager
    async def hold(self, pixels: int) -> AsyncIterator[None]:
        """Waits until there is room, and takes it up inside the `with` block.

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
            self._inside += pixels
            return
        waiting, maximum = sum(each for each, _ in self._waiting), _WAITING * self._max_pixels
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
                with suppress(ValueError):  # it may have been passed over already
                    self._waiting.remove(entry)
                self._admit()  # it may have kept back smaller ones
            else:  # let in and cancelled at once
                self._leave(pixels)
            raise

    def _leave(self, pixels: int) -> None:
        self._inside -= pixels
        self._admit()

    def _admit(self) -> None:
        while self._waiting and self._fits(self._waiting[0][0]):
            pixels, turn = self._waiting.popleft()
            if not turn.cancelled():
                self._inside += pixels
                turn.set_result(None)

    def _fits(self, pixels: int) -> bool:
        return not self._inside or self._inside + pixels <= self._max_pixels
