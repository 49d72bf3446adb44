"""The seam between the tasks and everything around them: what a task is, and what it may ask for.

A task turns one request into one response by running graphs of its bundle. It knows neither gRPC nor onnxruntime, so
server, evaluation and tests all run the same code.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ParamSpec, Protocol, TypeVar

from google.protobuf.message import Message
from numpy.typing import NDArray

from muserve.bundle import Bundle

__all__ = ["Call", "Rows", "Step", "Task", "TaskFactory", "TaskLimits"]

Rows = Mapping[str, NDArray[Any]]
"""Tensors by name. The first dimension of each is the row, the same number in all."""
Step = Callable[[Rows], Rows | None]
"""Makes the next rows of a graph's outputs, or None at the end."""

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
        """Runs rows through a graph, and again what a function makes of the outputs, until that makes nothing more.

        It does what `infer` in a loop would, without waking the request after each run.

        Args:
            graph: The graph's role.
            rows: Every input of the graph, [row, ...].
            step: Gets every output, [row, ...], and returns the next rows. Pure but for what it keeps, and as short as
                what `run_soon` takes, since it runs on the event loop; counted as encode time.

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
        """Runs a short pure function on the event loop, in one go with those of other calls; counted as encode time.

        Only for work of less than about 0.1 ms: a hop to a thread and back costs more than that.
        """


class Task(Protocol):
    """All pre- and post-processing of one loaded bundle."""

    async def run(self, request: Any, call: Call) -> Message:
        """Answers one request of the task's proto service.

        Args:
            request: The service's request message. Not to be changed.
            call: Runs the graphs.

        Returns:
            The service's response message, with `info.seed` set where the task draws noise.

        Raises:
            InvalidRequestError: Names each wrong field.
        """


class TaskLimits(Protocol):
    """The limits that tasks check before they take memory."""

    @property
    def max_samples_per_call(self) -> int:
        """Most samples that one call may ask for."""

    @property
    def max_pixels_per_call(self) -> int:
        """Most pixels, over all images, that one call may take or make."""

    @property
    def max_pixels_in_work(self) -> int:
        """Most pixels of images and their answers that all calls of one model may hold at a time."""

    @property
    def max_series_per_call(self) -> int:
        """Most series that one call may bring."""

    @property
    def max_points_per_series(self) -> int:
        """Most values of one series, missing ones too."""

    @property
    def max_midi_events(self) -> int:
        """Most events of a MIDI file that one call may bring."""

    @property
    def max_bars_per_call(self) -> int:
        """Most bars, over all pieces and in whole phrases, that one call may ask for."""

    @property
    def max_question_bytes(self) -> int:
        """Most bytes, in UTF-8, of a question."""

    @property
    def max_context_bytes(self) -> int:
        """Most bytes, in UTF-8, of a text that one call may bring to be read."""

    @property
    def max_answer_values(self) -> int:
        """Most numbers of 64 bits in one answer: as many as a message has room for."""


TaskFactory = Callable[[Bundle, TaskLimits], Task]
"""Builds the task of a bundle. Raises ManifestError if the manifest's settings contradict its graphs."""
