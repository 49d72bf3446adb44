"""Waits for conditions instead of sleeping."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

__all__ = ["WAIT_S", "until"]

WAIT_S = 90
"""How long a test waits for what will come: so long that only what never comes fails, below a test's own timeout."""


async def until(condition: Callable[[], object], timeout_s: float = WAIT_S) -> None:
    """Returns once the condition holds; fails the test if it does not within the timeout."""
    async with asyncio.timeout(timeout_s):
        while not condition():  # noqa: ASYNC110 - a condition of any kind
            await asyncio.sleep(0.001)
