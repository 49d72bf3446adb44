"""A caller of an ASGI application: gives the parts of a request, and keeps what is sent back."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

__all__ = ["Caller", "parts_of"]


def parts_of(*bodies: bytes) -> list[Mapping[str, Any]]:
    """Returns the events of a request whose body comes in these parts."""
    last = len(bodies) - 1
    return [
        {"type": "http.request", "body": body, "more_body": index < last} for index, body in enumerate(bodies)
    ]  # fmt: skip


class Caller:
    """One HTTP request."""

    def __init__(self, path: str, parts: Sequence[Mapping[str, Any]], headers: Mapping[str, str] | None = None) -> None:
        self.scope = {
            "type": "http",
            "path": path,
            "headers": [(name.encode(), value.encode()) for name, value in (headers or {}).items()],
        }
        self.sent: list[Mapping[str, Any]] = []
        self.gone = asyncio.Event()
        self._parts = list(parts)

    async def receive(self) -> Mapping[str, Any]:
        """Gives the next part; then waits until the caller goes."""
        if self._parts:
            return self._parts.pop(0)
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, event: Mapping[str, Any]) -> None:
        """Keeps what is sent."""
        self.sent.append(event)

    @property
    def body(self) -> bytes:
        """What has come so far."""
        return b"".join(event["body"] for event in self.sent if event["type"] == "http.response.body")

    @property
    def status(self) -> dict[bytes, bytes]:
        """The headers and trailers in one."""
        return {name: value for event in self.sent for name, value in event.get("headers", ())}

    async def messages(self, read: Any, encoding: bytes = b"", max_bytes: int = 2**20) -> AsyncIterator[bytes]:
        """Reads the request as a front does."""
        async for message in read(self.receive, encoding, max_bytes):
            yield message
