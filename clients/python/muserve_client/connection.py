"""The synchronous connection: opens a channel, sends, tries again, closes. All in which it differs from asyncio."""

from __future__ import annotations

import functools
import inspect
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc

from muserve.errors import CancelledCallError
from muserve_client.attempts import CLOSED, Attempts
from muserve_client.flows import Flow, Method, Options, Pause, Rpc, Work, not_a_step
from muserve_client.options import Configured

__all__ = ["Connection", "as_method", "blocking"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Connection(Configured):
    """Drives flows over a channel. Safe to share between threads; connects at the first call."""

    def _prepare(self) -> None:
        self._lock = threading.Lock()
        self._closed = threading.Event()
        self._channel: grpc.Channel | None = None
        self._callables: dict[str, grpc.UnaryUnaryMultiCallable] = {}

    def run(self, flow: Flow[Result]) -> Result:
        """Makes a call of another package; see `muserve_client.calls`.

        Args:
            flow: The call: a generator that yields RPCs.

        Returns:
            What the call returns.

        Raises:
            MuserveError: As the call documents.
            TypeError: The flow yields something that is no step of a call.
        """
        try:
            step = next(flow)
            while True:
                try:
                    result = self._perform(flow, step)
                except BaseException as error:  # noqa: BLE001 - raised inside the flow, which may know better
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flow.close()

    def close(self) -> None:
        """Ends the connection and the calls on it. Closing again does nothing."""
        with self._lock:
            self._closed.set()
            if self._channel is not None:
                self._channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _perform(self, flow: Flow[Any], step: object) -> Any:
        match step:
            case Rpc():
                return self._send(step)
            case Work():
                return step.function()
            case Pause():
                return self._pause(step.seconds)
            case Options():
                return self._options
            case _:
                raise not_a_step(flow, step)

    def _send(self, rpc: Rpc) -> Any:
        """Sends a request, again where that is safe, and reads the response."""
        call = Attempts(self._options, timeout_s=rpc.timeout_s, request_id=rpc.request_id, max_attempts=rpc.attempts)
        send = self._callable(rpc.method)
        while True:
            try:
                return rpc.method.read(send(rpc.request, timeout=call.remaining_s(), metadata=call.metadata))
            except grpc.RpcError as error:
                if self._closed.is_set():
                    raise CancelledCallError(CLOSED) from error
                failure = call.translate(error)
                pause = call.pause_s(failure)
                if pause is None:
                    raise failure from error
            except ValueError as error:  # gRPC's answer when the channel was closed just now
                if self._closed.is_set():
                    raise CancelledCallError(CLOSED) from error
                raise
            self._pause(pause)

    def _callable(self, method: Method) -> grpc.UnaryUnaryMultiCallable:
        with self._lock:
            if self._closed.is_set():
                raise RuntimeError(CLOSED)
            if self._channel is None:
                self._channel = self._open_channel(grpc)
            if method.path not in self._callables:
                self._callables[method.path] = self._channel.unary_unary(method.path, method.serialize)
            return self._callables[method.path]

    def _pause(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise CancelledCallError(CLOSED)


def blocking(call: Callable[Parameters, Flow[Result]]) -> Callable[Concatenate[Connection, Parameters], Result]:
    """Makes a method of a call, with its signature and its docstring."""

    @functools.wraps(call)
    def method(self: Connection, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return self.run(call(*args, **kwargs))

    return as_method(method, "Client")


Method_ = TypeVar("Method_", bound=Callable[..., Any])


def as_method(method: Method_, owner: str) -> Method_:
    """Gives a wrapped call the signature that it has as a method: with self, and without the flow around the result."""
    signature = inspect.signature(method)
    result = str(signature.return_annotation).removeprefix("Flow[").removesuffix("]")
    owned = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD), *signature.parameters.values()]
    described: Any = method
    described.__signature__ = signature.replace(parameters=owned, return_annotation=result)
    described.__qualname__ = f"{owner}.{described.__name__}"
    del described.__wrapped__
    return method
