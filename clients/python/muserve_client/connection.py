"""The blocking connection: runs flows, and sends, retries and closes."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable
from types import TracebackType
from typing import Any, Concatenate, ParamSpec, Self, TypeVar

import grpc

from muserve.errors import CancelledCallError
from muserve_client.attempts import CLOSED
from muserve_client.client_base import ClientBase
from muserve_client.flows import Flow, Pause, Rpc, Step, Work, check_flow, check_step

__all__ = ["Connection", "as_method", "blocking"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Connection(ClientBase):
    """All of `Client` but its calls."""

    _api = grpc

    def run(self, flow: Flow[Result]) -> Result:
        """Runs a call that another package brings.

        Args:
            flow: What its function returned, as in `client.run(sketches("cat"))`.

        Returns:
            What the call returns.

        Raises:
            InvalidFlowError: It is not a flow, or yields something that is not a step.
            MuserveError: As `muserve.errors` lists them.
        """
        check_flow(flow)
        try:
            step = next(flow)
            while True:
                check_step(flow, step)
                try:
                    result = self._perform(step)
                except BaseException as error:  # noqa: BLE001 - raised inside the flow, which may know better
                    step = flow.throw(error)
                else:
                    step = flow.send(result)
        except StopIteration as end:
            return end.value  # type: ignore[no-any-return]
        finally:
            flow.close()

    def close(self) -> None:
        """Closes the connection and cancels the calls on it. Closing again does nothing."""
        with self._lock:
            self._closed.set()
            for channel in self._channels.values():
                channel.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.close()

    def _perform(self, step: Step) -> Any:
        match step:
            case Rpc():
                return self._send(step)
            case Work():
                return step.function()
            case Pause():
                return self._pause(step.seconds)
            case _:
                return self._options

    def _send(self, rpc: Rpc) -> Any:
        """Sends a request, again where that is safe, and reads the response."""
        call = self._attempts(rpc)
        callables = self._callable(rpc.method)
        while True:
            send = callables.checked if call.checks_health else callables.unchecked
            try:
                response = send(rpc.request, timeout=call.remaining_s(), metadata=call.metadata)
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
            else:
                call.succeeded()
                return rpc.method.read(response)
            self._pause(pause)

    def _pause(self, seconds: float) -> None:
        if self._closed.wait(seconds):
            raise CancelledCallError(CLOSED)


def blocking(call: Callable[Parameters, Flow[Result]]) -> Callable[Concatenate[Connection, Parameters], Result]:
    """Makes a flow a method of `Client`, with the flow's signature and docstring."""

    @functools.wraps(call)
    def method(self: Connection, /, *args: Parameters.args, **kwargs: Parameters.kwargs) -> Result:
        return self.run(call(*args, **kwargs))

    return as_method(method, "muserve_client.client.Client")


Method_ = TypeVar("Method_", bound=Callable[..., Any])


def as_method(method: Method_, owner: str) -> Method_:
    """Gives a wrapped call the signature that it has as a method: with self, and without the flow around the result.

    Args:
        method: Wraps a call; `functools.wraps` lets `typing.get_type_hints` find the call's names.
        owner: The client's class: "muserve_client.client.Client".
    """
    signature = inspect.signature(method)
    result = str(signature.return_annotation).removeprefix("Flow[").removesuffix("]")
    owned = [inspect.Parameter("self", inspect.Parameter.POSITIONAL_OR_KEYWORD), *signature.parameters.values()]
    described: Any = method
    described.__signature__ = signature.replace(parameters=owned, return_annotation=result)
    described.__annotations__ = {**described.__annotations__, "return": result}
    described.__module__, _, name = owner.rpartition(".")
    described.__qualname__ = f"{name}.{described.__name__}"
    return method
