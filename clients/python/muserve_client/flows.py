"""A call as a flow: a generator that yields what is to be done and returns what the caller gets. No networking here.

    def echo(text: str, *, timeout_s: float | None = None, request_id: str | None = None) -> Flow[str]:
        fields, request = Fields(), echo_pb2.EchoRequest()
        fields.fill(request, text=text)
        fields.check()
        response = yield Rpc(ECHO, request, timeout_s=timeout_s, request_id=request_id)
        return response.text

`Client.run` and `AsyncClient.run` drive the same generator; what a call fails with is raised at its `yield`.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from dataclasses import dataclass
from importlib.metadata import EntryPoint, entry_points, packages_distributions
from typing import Any, TypeAlias, TypeVar

from google.protobuf import message_factory
from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import DecodeError

from muserve.errors import InternalError

__all__ = [
    "GROUP",
    "OPTIONS",
    "Flow",
    "InvalidFlowError",
    "Method",
    "Options",
    "Pause",
    "Rpc",
    "Step",
    "Work",
    "check_flow",
    "check_step",
    "method_of",
]

GROUP = "muserve.calls"
"""The group of entry points that name calls."""

Result = TypeVar("Result")


@dataclass(frozen=True)
class Method:
    """One unary method and how its messages go over the wire."""

    path: str
    """"/muserve.v1.ImageService/GenerateImages"."""
    serialize: Callable[[Any], bytes]
    """Request message to bytes."""
    parse: Callable[[bytes], Any]
    """Bytes to response message."""

    def read(self, response: bytes) -> Any:
        """Reads what came over the wire. Not left to gRPC: its asyncio side returns None for what it cannot parse.

        Raises:
            InternalError: It is not a response of this method.
        """
        try:
            return self.parse(response)
        except DecodeError as error:
            raise InternalError(f"{self.path} returned something else; is it a Muserve server?") from error


def method_of(service: ServiceDescriptor, name: str) -> Method:
    """Returns a method of a service: `method_of(image_pb2.DESCRIPTOR.services_by_name["ImageService"], "…")`."""
    method = service.methods_by_name[name]
    request, response = (message_factory.GetMessageClass(kind) for kind in (method.input_type, method.output_type))
    return Method(f"/{service.full_name}/{name}", request.SerializeToString, response.FromString)


@dataclass(frozen=True)
class Rpc:
    """Sends a request, again where that is safe; the flow gets the response message."""

    method: Method
    """What to call."""
    request: Any
    """The request message."""
    timeout_s: float | None = None
    """Seconds for all attempts and the waits between them; None takes the client's."""
    request_id: str | None = None
    """The call's name in the server's log; None draws one."""
    attempts: int | None = None
    """Maximum attempts; None takes the client's."""


@dataclass(frozen=True)
class Work:
    """Runs a function that takes a while; the flow gets what it returns. The asyncio client runs it in a thread."""

    function: Callable[[], Any]
    """What to run."""


@dataclass(frozen=True)
class Pause:
    """Waits; the flow gets None."""

    seconds: float
    """How long."""


@dataclass(frozen=True)
class Options:
    """Asks for the client's own settings; the flow gets its `ClientOptions`."""


OPTIONS = Options()
"""Yield this to get them."""

Step: TypeAlias = Rpc | Work | Pause | Options
Flow: TypeAlias = Generator[Step, Any, Result]
"""A call: yields steps, gets what comes of each, and returns what the caller gets."""


class InvalidFlowError(TypeError):
    """What was given to `run` is not a flow, or the flow yielded something else than a step."""


def check_flow(flow: object) -> None:
    """Checks what `run` is given.

    Raises:
        InvalidFlowError: It is not a generator, or one that has run.
    """
    if not isinstance(flow, Generator):
        raise InvalidFlowError(
            f"run takes a flow, which is what a call's function returns: client.run(sketches('cat')); got {flow!r}"
        )
    if inspect.isgenerator(flow) and inspect.getgeneratorstate(flow) != inspect.GEN_CREATED:
        raise InvalidFlowError(f"{flow.__qualname__!r} has run already, and a flow runs once; call the function again")


def check_step(flow: object, step: object) -> None:
    """Checks what a flow yields.

    Raises:
        InvalidFlowError: It is not a step; names the distribution that brings the flow.
    """
    if not isinstance(step, Step):
        raise InvalidFlowError(
            f"the call {getattr(flow, '__qualname__', repr(flow))!r} of {_origin(flow)} yielded {step!r}; a call is a "
            "generator that yields muserve_client.calls.Rpc"
        )


def _origin(flow: object) -> str:
    """Names the distribution of a flow, or else its module."""
    frame = getattr(flow, "gi_frame", None)
    module = frame.f_globals.get("__name__", "") if frame is not None else type(flow).__module__
    package = module.partition(".")[0]
    # An editable install lists no packages, but has its entry points.
    by_entry = [entry.dist.name for entry in entry_points(group=GROUP) if entry.dist and _package(entry) == package]
    names = by_entry or packages_distributions().get(package, [])
    return f"the distribution {names[0]!r}" if names else f"the module {module!r}"


def _package(entry: EntryPoint) -> str:
    return entry.module.partition(".")[0]
