"""What `muserve verify` asks of a task: a request, what others ask meanwhile, and each of its items alone."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from google.protobuf.message import Message

from muserve.v1 import manifest_pb2
from muserve_client.flows import Method

__all__ = ["MAX_OTHER_ITEMS", "OTHER_SEEDS", "SEED", "Answer", "Probe", "answer_of", "copy_of", "one_sample", "seeded"]

Request = TypeVar("Request", bound=Message)

SEED = 1
"""The seed of requests that have none."""
OTHER_SEEDS = 1_000_003
"""Seeds of others' requests begin here."""
MAX_OTHER_ITEMS = 8
"""Others ask for 1 up to so many items, by turns."""


@dataclass(frozen=True)
class Answer:
    """What is compared of two answers, and what is told of them."""

    digest: str
    """Of the bundle that answered."""
    batch_rows: int
    """Rows of the largest batch."""
    items: Mapping[str, bytes]
    """What was asked for, each by what it is called: "sample 3"."""


@dataclass(frozen=True)
class Probe:
    """How the models of one task are verified, by one kind of request."""

    task: str
    """As in `Model.task`."""
    request: type[Message]
    """The class of the golden requests that it replays."""
    method: Method
    """What answers them."""
    nouns: tuple[str, str, str]
    """What the items are called, all together and one by one, and what is compared: "images", "samples", "bytes"."""
    read: Callable[[Any], Answer]
    """Reads a response message."""
    default: Callable[[manifest_pb2.ModelManifest], Any]
    """Makes a small request for a model without goldens; None if it takes no such requests."""
    other: Callable[[Any, int], Any]
    """Makes a request that shares batches with the given one, but not its content; the index tells them apart."""
    alone: Callable[[Any, int], Any]
    """Makes the request for one item of `apart`."""
    apart: Callable[[Any], Any] = lambda request: copy_of(request)
    """Makes the request whose answer has one item for each that can be asked for alone."""
    settle: Callable[[Any], None] = lambda request: seeded(request)
    """Sets in a golden request what it leaves to chance."""
    name: str = "default"
    """What the small request is called."""


def answer_of(response: Any, items: Mapping[str, bytes]) -> Answer:
    """Takes digest and batch from a response's `info`."""
    return Answer(response.info.digest, response.info.timings.batch_rows, items)


def seeded(request: Any) -> None:
    """Sets the seed of a request that leaves it to the server; nothing in one that draws nothing."""
    if "seed" in request.DESCRIPTOR.fields_by_name and not request.HasField("seed"):
        request.seed = SEED


def one_sample(request: Any, index: int) -> Any:
    """Makes the request for one sample of a request."""
    one = copy_of(request)
    one.first_sample, one.count = request.first_sample + index, 1
    return one


def copy_of(request: Request) -> Request:
    """Copies a message."""
    copied = type(request)()
    copied.CopyFrom(request)
    return copied
