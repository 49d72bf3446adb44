"""The asyncio connection: opens a channel, sends, tries again, closes. All in which it differs from `Connection`."""

from __future__ import annotations

import asyncio
import functools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc
from grpc import aio

from muserve.errors import CancelledCallError
from muserve_client.attempts import CLOSED, Attempts
from muserve_client.connection import as_method
from muserve_client.flows import Flow, Method, Options, Pause, Rpc, Work, not_a_step
from muserve_client.options import Configured

__all__ = ["AsyncConnection", "awaited"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class AsyncConnection(Configured):
    """Drives flows over a channel of asyncio. It connects at its first call and belongs to the loop that makes it."""

    def _prepare(self) -> None:
        self._closed = False
        self._channel: aio.Channel | None = None
        self._callables: dict[str, aio.UnaryUnaryMultiCallable] = {}

    async def run(self, flow: Flow[Result]) -> Result:
        """Makes a call of another package; see `Client.run`."""
        try:
            step = next(flow)
            while True:
                try:
                    result = await self._perform(flow, step)
                except BaseException as error:  # noqa: BLE001 - raised inside the flow, which may know better
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flow.close()

    async def close(self) -> None:
        """Ends the connection and the calls on it. Closing again does nothing."""
        self._closed = True
        if self._channel is not None:
            await self._channel.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _perform(self, flow: Flow[Any], step: object) -> Any:
        match step:
            case Rpc():
                return await self._send(step)
            case Work():
                return await asyncio.to_thread(step.function)
            case Pause():
                return await self._pause(step.seconds)
            case Options():
                return self._options
            case _:
                raise not_a_step(flow, step)

    async def _send(self, rpc: Rpc) -> Any:
        """Sends a request, again where that is safe, and reads the response."""
        call = Attempts(self._options, timeout_s=rpc.timeout_s, request_id=rpc.request_id, max_attempts=rpc.attempts)
        send = self._callable(rpc.method)
        while True:
            try:
                return rpc.method.read(await send(rpc.request, timeout=call.remaining_s(), metadata=call.metadata))
            except grpc.RpcError as error:
                failure = call.translate(error)
                pause = call.pause_s(failure)
                if pause is None:
                    raise failure from error
            except asyncio.CancelledError as error:
                # gRPC raises this too when the channel is closed under a call, though nobody cancelled the task.
                task = asyncio.current_task()
                if self._closed and task is not None and not task.cancelling():
                    raise CancelledCallError(CLOSED) from error
                raise
            await self._pause(pause)

    def _callable(self, method: Method) -> aio.UnaryUnaryMultiCallable:
        if self._closed:
            raise RuntimeError(CLOSED)
        if self._channel is None:
            self._channel = self._open_channel(aio)
        if method.path not in self._callables:
            self._callables[method.path] = self._channel.unary_unary(method.path, method.serialize)
        return self._callables[method.path]

    async def _pause(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        if self._closed:
            raise CancelledCallError(CLOSED)


def awaited(
    call: Callable[Parameters, Flow[Result]],
) -> Callable[Concatenate[AsyncConnection, Parameters], Coroutine[Any, Any, Result]]:
    """Makes a coroutine method of a call, with its signature and its docstring."""

    @functools.wraps(call)
    async def method(self: AsyncConnection, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return await self.run(call(*args, **kwargs))

    return as_method(method, "AsyncClient")
