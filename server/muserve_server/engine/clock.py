"""The clock of the batcher, which tests replace by one that they turn."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress

__all__ = ["Clock"]


class Clock:
    """The monotonic clock of this machine."""

    def now_s(self) -> float:
        """Returns the time, as `time.monotonic`."""
        return time.monotonic()

    async def wait(self, event: asyncio.Event, timeout_s: float) -> None:
        """Waits until an event is set, or the time is up."""
        with suppress(TimeoutError):
            await asyncio.wait_for(event.wait(), timeout_s)
