"""What a front is: it speaks HTTP/2 to callers, and calls the methods of one table."""

from __future__ import annotations

from typing import Protocol

from muserve_server.fronts.table import Table

__all__ = ["Front", "FrontError"]


class FrontError(Exception):
    """A front cannot be opened as it is set; the text names the setting."""


class Front(Protocol):
    """Takes calls from callers to the methods of a table."""

    async def open(self, table: Table) -> int:
        """Serves the methods of a table from now on.

        Returns:
            The port.

        Raises:
            FrontError: It cannot be opened.
        """

    async def close(self, grace_s: float) -> None:
        """Takes no more calls, waits for those that run, and ends the others after so many seconds."""
