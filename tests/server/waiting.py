"""Waits for conditions instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["DEADLINES_S", "WAIT_S", "until"]

WAIT_S = 90
"""How long a test waits for what will come: so long that only what never comes fails, below a test's own timeout."""

DEADLINES_S = (0.2, 2, 20)
"""Deadlines of a call that must have begun when its deadline passes: a test tries the next if it had not."""


async def until(condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    """Returns once the condition holds; fails the test if it does not within the timeout."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - a condition of any kind
            await asyncio.sleep(0.001)
