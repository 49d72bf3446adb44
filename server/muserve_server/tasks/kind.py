"""The seam between the tasks and everything around them: what a task kind is, what a task is, what it may ask for.

A task kind is what this server can do: one proto service, one set of limits. A task is the same for one loaded bundle:
it turns requests into responses by running the bundle's graphs. It knows neither gRPC nor onnxruntime, so that server,
evaluation and tests all run the same code.

A package adds a kind by an entry point of the group "muserve.tasks" that names its `TaskKind`:

    [project.entry-points."muserve.tasks"]
    sketch = "acme_sketch.kind:KIND"

The module imports protos and limits alone; `open` imports the rest, so that a server loads only what it serves.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass
from typing import Any, ParamSpec, Protocol, TypeVar

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from muserve.bundle import Bundle
from muserve_server.rows import Rows, Step

__all__ = ["Call", "Handler", "Task", "TaskKind"]

Parameters = ParamSpec("Parameters")
Result = TypeVar("Result")


class Call(Protocol):
    """What a task may ask of its surroundings while it answers one request."""

    async def infer(self, graph: str, rows: Rows) -> Rows:
        """Runs rows through one of the bundle's graphs, in batches with other requests' rows.

        Args:
            graph: The graph's role.
            rows: Every input of the graph, [row, ...].

        Returns:
            Every output of the graph, [row, ...], in the order of the rows.

        Raises:
            MuserveError: The queue is full, the deadline has passed, or the graph failed on these rows.
        """

    async def iterate(self, graph: str, rows: Rows, step: Step) -> None:
        """Runs rows through a graph and feeds `step`'s result back in until it returns None.

        It does what `infer` in a loop would, without waking the request after each run.

        Args:
            graph: The graph's role.
            rows: Every input of the graph, [row, ...].
            step: Gets every output, [row, ...], and returns the next rows, or None at the end. It runs on the event
                loop, so it must be as short as what `run_soon` takes; counted as encode time.

        Raises:
            MuserveError: The queue is full, the deadline has passed, or the graph failed on these rows.
            Exception: What the step raised.
        """

    async def offload(
        self, function: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Runs a pure function (encoding, decoding, tokenising) off the event loop; counted as encode time."""

    async def run_soon(
        self, function: Callable[Parameters, Result], /, *args: Parameters.args, **kwargs: Parameters.kwargs
    ) -> Result:
        """Runs a short pure function on the event loop, batched with those of other calls; counted as encode time.

        Only for work of less than about 0.1 ms: a hop to a thread and back costs more than that.
        """


Handler = Callable[[Any, Call], Coroutine[Any, Any, Message]]
"""Answers one request of one method.

It gets the method's request message, which it must not change, and the call. It returns the response message, with
`info.seed` set where the task draws noise, or raises InvalidRequestError, which names each wrong field.
"""


class Task(Protocol):
    """All pre- and post-processing of one loaded bundle."""

    def handlers(self) -> Mapping[str, Handler]:
        """Returns a handler for each method of the kind's service, by the method's name: "GenerateImages"."""


@dataclass(frozen=True)
class TaskKind:
    """One kind of work that bundles can do."""

    name: str
    """As manifests and settings name it: "forecast". A lower-case letter, then letters, digits and hyphens."""
    service: ServiceDescriptor | None
    """Its proto service; None if it has none. Its methods are unary. Each has a request message of its own with the
    fields `string model` and `optional uint32 version`, and a response message with `muserve.v1.ResponseInfo info`."""
    limits: type[Any]
    """A frozen dataclass of `muserve.configuration.option` fields: they become flags, environment and file settings."""
    open: Callable[[Bundle, Any], Task]
    """Makes the task of a bundle, given an instance of `limits`. Runs in a thread, and may take a while. Raises
    ManifestError if the manifest's settings contradict its graphs or files."""
