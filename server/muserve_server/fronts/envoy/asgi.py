"""The application inside Envoy: calls the table's methods over ASGI. All else of HTTP is done by Envoy's filters."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from muserve.errors import MuserveError, UnavailableError, UnimplementedError
from muserve_server.fronts.calls import REQUEST_ID_KEY, call_contexts
from muserve_server.fronts.envoy.descriptors import body_of, json_path
from muserve_server.fronts.envoy.framing import (
    ENCODINGS,
    CallerGoneError,
    Receive,
    framed,
    read_message,
    read_messages,
    status_headers,
    timeout_s,
)
from muserve_server.fronts.table import Method, Table
from muserve_server.interceptors import CallContext

__all__ = ["AsgiFront"]

Headers = Mapping[bytes, bytes]
Send = Callable[[Mapping[str, Any]], Awaitable[None]]

_HEADERS = [(b"content-type", b"application/grpc"), (b"grpc-accept-encoding", ENCODINGS)]
_START = {"type": "http.response.start", "status": 200, "headers": _HEADERS, "trailers": True}
_OK = [(b"grpc-status", b"0")]
_REQUEST_ID = REQUEST_ID_KEY.encode()
_RETRY_AFTER_S = 0.5
_ASK_AFTER_S, _MAX_ASK_AFTER_S = 0.1, 5.0  # thousands may watch health for days


class AsgiFront:
    """The front inside Envoy: an ASGI application over a table of methods."""

    def __init__(self, port: int, listening: Callable[[], Awaitable[object]], *, max_message_bytes: int) -> None:
        """Stores its parts.

        Args:
            port: Where Envoy listens.
            listening: Returns when it does.
            max_message_bytes: Size of the largest request message.
        """
        self._port = port
        self._listening = listening
        self._max_message_bytes = max_message_bytes
        self._contexts = call_contexts()
        self._table: Table = {}
        self._refusal: MuserveError | None = UnavailableError("the server is starting", retry_after_s=_RETRY_AFTER_S)
        self._calls: set[asyncio.Task[Any]] = set()
        self._callers = _Callers()

    async def open(self, table: Table) -> int:
        """Serves the methods of a table from now on; see `Front`."""
        mirrored = {json_path(path): _mirror(method) for path, method in table.items() if not method.requests_stream}
        self._table = {**table, **mirrored}
        self._refusal = None
        self._callers.start()
        await self._listening()
        return self._port

    async def close(self, grace_s: float) -> None:
        """Takes no more calls, though probes are answered, and waits for those that run; see `Front`."""
        self._refusal = UnavailableError("the server stops", retry_after_s=_RETRY_AFTER_S)
        if self._calls:
            _, late = await asyncio.wait(self._calls, timeout=grace_s)
            for task in late:
                task.cancel()
            await asyncio.gather(*late, return_exceptions=True)
        self._callers.stop()

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        """Answers one HTTP request; see the specification of ASGI."""
        task: Any = asyncio.current_task()
        self._calls.add(task)
        try:
            method = self._find(scope["path"])
            if method.is_probe:
                self._calls.discard(task)
            headers = dict(scope["headers"])
            if method.responses_stream:
                await self._answer_with_stream(method, headers, receive, send)
            else:
                await self._answer(method, headers, receive, send)
        except MuserveError as error:
            await _refuse(send, error)
        except (CallerGoneError, OSError):
            pass  # the latter is ASGI's, while the answer is sent
        except asyncio.CancelledError:
            if not self._callers.dropped(task):
                await _refuse(send, UnavailableError("the server stops"))
        finally:
            self._calls.discard(task)

    def _find(self, path: str) -> Method:
        method = self._table.get(path)
        if self._refusal and not (method and method.is_probe):
            raise self._refusal
        if method is None:
            raise UnimplementedError(f"{path[:200]} is not a method of this server")
        return method

    async def _answer(self, method: Method, headers: Headers, receive: Receive, send: Send) -> None:
        request = await read_message(receive, headers.get(b"grpc-encoding", b""), self._max_message_bytes)
        with self._callers.waiting(receive):
            response = await method.handler(request, self._context(method, headers))
        await send(_START)
        await send({"type": "http.response.body", "body": framed(response), "more_body": False})
        await send({"type": "http.response.trailers", "headers": _OK, "more_trailers": False})

    async def _answer_with_stream(self, method: Method, headers: Headers, receive: Receive, send: Send) -> None:
        started = False
        status = _OK
        try:
            async for response in self._responses(method, headers, receive):
                if not started:
                    await send(_START)
                    started = True
                await send({"type": "http.response.body", "body": framed(response), "more_body": True})
        except MuserveError as error:
            status = status_headers(error)
        if not started:
            await send(_START)
        await _end(send, status)

    async def _responses(self, method: Method, headers: Headers, receive: Receive) -> AsyncIterator[bytes]:
        encoding = headers.get(b"grpc-encoding", b"")
        if method.requests_stream:
            async for request in read_messages(receive, encoding, self._max_message_bytes):
                async for response in method.handler(request, self._context(method, headers)):
                    yield response
            return
        request = await read_message(receive, encoding, self._max_message_bytes)
        with self._callers.waiting(receive):
            async for response in method.handler(request, self._context(method, headers)):
                yield response

    def _context(self, method: Method, headers: Headers) -> CallContext:
        request_id = headers.get(_REQUEST_ID, b"").decode("latin-1")
        return self._contexts(method.path, request_id, timeout_s(headers.get(b"grpc-timeout")))


def _mirror(method: Method) -> Method:
    """Returns the method for requests in JSON, as Envoy sends them."""
    return replace(method, handler=lambda request, call: method.json_handler(body_of(request), call))


async def _refuse(send: Send, error: MuserveError) -> None:
    """Answers with a status alone: with headers and nothing else, which is what Envoy makes JSON of."""
    headers = [*_HEADERS, *status_headers(error)]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _end(send: Send, status: list[tuple[bytes, bytes]]) -> None:
    await send({"type": "http.response.body", "body": b"", "more_body": False})
    await send({"type": "http.response.trailers", "headers": status, "more_trailers": False})


class _Callers:
    """Cancels the tasks whose callers have gone: ASGI tells only those who ask."""

    def __init__(self) -> None:
        self._waiting: dict[asyncio.Task[Any], _Caller] = {}
        self._dropped: set[asyncio.Task[Any]] = set()
        self._watch: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begins to ask."""
        self._watch = asyncio.create_task(self._ask_all())

    def stop(self) -> None:
        """Asks no more."""
        if self._watch:
            self._watch.cancel()

    def waiting(self, receive: Receive) -> _Caller:
        """Returns a context in which the current task is cancelled if its caller goes."""
        return _Caller(self._waiting, receive)

    def dropped(self, task: asyncio.Task[Any]) -> bool:
        """Says whether a task was cancelled for that."""
        if task not in self._dropped:
            return False
        self._dropped.discard(task)
        return True

    async def _ask_all(self) -> None:
        while True:
            await asyncio.sleep(_ASK_AFTER_S)
            now = time.monotonic()
            due = [(task, caller) for task, caller in self._waiting.items() if caller.ask_at <= now]
            await asyncio.gather(*(self._ask(task, caller) for task, caller in due))

    async def _ask(self, task: asyncio.Task[Any], caller: _Caller) -> None:
        caller.ask_later()
        if (await caller.receive())["type"] == "http.disconnect" and self._waiting.get(task) is caller:
            self._dropped.add(task)
            task.cancel()


class _Caller:
    """Who waits for an answer, while it is made."""

    def __init__(self, waiting: dict[asyncio.Task[Any], _Caller], receive: Receive) -> None:
        self.receive = receive
        self._waiting = waiting
        self._pause_s = _ASK_AFTER_S
        self.ask_at = time.monotonic() + self._pause_s
        self._task: Any = None

    def ask_later(self) -> None:
        """Puts the next question off: the longer a call takes, the less it hurts to notice late."""
        self._pause_s = min(2 * self._pause_s, _MAX_ASK_AFTER_S)
        self.ask_at = time.monotonic() + self._pause_s

    def __enter__(self) -> None:
        self._task = asyncio.current_task()
        self._waiting[self._task] = self

    def __exit__(self, *_: object) -> None:
        del self._waiting[self._task]
