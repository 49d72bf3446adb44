"""The asyncio connection: runs flows, and sends, retries and closes, as `Connection` does."""

from __future__ import annotations

import asyncio
import contextlib
import functools
from collections.abc import Callable, Coroutine
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc
from grpc import aio

from muserve.errors import CancelledCallError
from muserve_client.attempts import CLOSED
from muserve_client.client_base import ClientBase
from muserve_client.connection import as_method
from muserve_client.flows import Flow, Pause, Rpc, Step, Work, check_flow, check_step

__all__ = ["AsyncConnection", "awaited"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class AsyncConnection(ClientBase):
    """All of `AsyncClient` but its calls."""

    _api = aio

    @functools.cached_property
    def _closing(self) -> asyncio.Event:
        """Ends the waits between attempts."""
        return asyncio.Event()

    async def run(self, flow: Flow[Result]) -> Result:
        """Runs a call that another package brings; see `Client.run`."""
        check_flow(flow)
        try:
            step = next(flow)
            while True:
                check_step(flow, step)
                try:
                    result = await self._perform(step)
                except BaseException as error:  # noqa: BLE001 - raised inside the flow, which may know better
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flow.close()

    async def close(self) -> None:
        """Closes the connection and cancels the calls on it. Closing again does nothing."""
        self._closed.set()
        self._closing.set()
        await asyncio.gather(*(channel.close() for channel in self._channels.values()))

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.close()

    async def _perform(self, step: Step) -> Any:
        match step:
            case Rpc():
                return await self._send(step)
            case Work():
                return await asyncio.to_thread(step.function)
            case Pause():
                return await self._pause(step.seconds)
            case _:
                return self._options

    async def _send(self, rpc: Rpc) -> Any:
        """Sends a request, again where that is safe, and reads the response."""
        call = self._attempts(rpc)
        callables = self._callable(rpc.method)
        while True:
            send = callables.checked if call.checks_health else callables.unchecked
            try:
                response = await send(rpc.request, timeout=call.remaining_s(), metadata=call.metadata)
            except grpc.RpcError as error:
                failure = call.translate(error)
                pause = call.pause_s(failure)
                if pause is None:
                    raise failure from error
            except asyncio.CancelledError as error:
                # gRPC raises this too when the channel is closed under a call, though nobody cancelled the task.
                task = asyncio.current_task()
                if self._closed.is_set() and task is not None and not task.cancelling():
                    raise CancelledCallError(CLOSED) from error
                raise
            else:
                call.succeeded()
                return rpc.method.read(response)
            await self._pause(pause)

    async def _pause(self, seconds: float) -> None:
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._closing.wait(), seconds)
        if self._closed.is_set():
            raise CancelledCallError(CLOSED)


def awaited(
    call: Callable[Parameters, Flow[Result]],
) -> Callable[Concatenate[AsyncConnection, Parameters], Coroutine[Any, Any, Result]]:
    """Makes a flow a method of `AsyncClient`, with the flow's signature and docstring."""

    @functools.wraps(call)
    async def method(self: AsyncConnection, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return await self.run(call(*args, **kwargs))

    return as_method(method, "muserve_client.async_client.AsyncClient")
