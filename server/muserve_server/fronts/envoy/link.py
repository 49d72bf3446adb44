"""The link between the server's process and Envoy's: lines of JSON over a pair of sockets, which end with either."""

from __future__ import annotations

import asyncio
import json
import socket
from typing import Any

__all__ = ["Link"]


class Link:
    """One end."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader = reader
        self._writer = writer

    @classmethod
    async def over(cls, end: socket.socket) -> Link:
        """Makes a link of one of two connected sockets, which it closes at the end."""
        return cls(*await asyncio.open_connection(sock=end))

    async def tell(self, event: str, **fields: Any) -> None:
        """Sends an event to the other end, if it is still there."""
        if self._writer.is_closing():
            return
        self._writer.write(json.dumps({"event": event, **fields}).encode() + b"\n")
        try:
            await self._writer.drain()
        except ConnectionError:
            self.close()

    async def hear(self) -> dict[str, Any] | None:
        """Waits for the next event of the other end; None once that has ended."""
        try:
            line = await self._reader.readline()
        except ConnectionError:
            return None
        return json.loads(line) if line.endswith(b"\n") else None

    def close(self) -> None:
        """Ends the link."""
        self._writer.close()
