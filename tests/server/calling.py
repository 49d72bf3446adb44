"""Real calls of a server, and the errors that they end with."""

from __future__ import annotations

import re
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

import pytest
from grpc import aio

from muserve.errors import STATUS_DETAILS_KEY, MuserveError, from_status
from muserve_server.app import Server
from tests.servers import serving

__all__ = ["channel_to", "failure_of", "get_http", "metric", "scraped", "serving_as"]

Running = TypeVar("Running")


@asynccontextmanager
async def channel_to(port: int, **options: int) -> AsyncIterator[aio.Channel]:
    """A channel to a server on this machine."""
    unlimited = {"grpc.max_receive_message_length": -1, "grpc.max_send_message_length": -1}
    async with aio.insecure_channel(f"127.0.0.1:{port}", options=list((unlimited | options).items())) as channel:
        yield channel


@asynccontextmanager
async def serving_as(
    kind: Callable[[Server, aio.Channel], Running], models: Path, **settings: Any
) -> AsyncIterator[Running]:
    """A started server and a channel to it, as what a test makes of the two."""
    async with serving(models, **settings) as server, channel_to(server.grpc_port) as channel:
        yield kind(server, channel)


async def failure_of(call: Awaitable[Any]) -> MuserveError:
    """Returns the error that a call ends with; fails the test if it ends well."""
    with pytest.raises(aio.AioRpcError) as caught:
        await call
    error = caught.value
    trailing = dict(error.trailing_metadata() or ())
    read = from_status(error.code(), error.details() or "", trailing.get(STATUS_DETAILS_KEY))
    assert read.code is error.code()
    return read


def metric(server: Server, name: str, **labels: str) -> float:
    """Sums the samples of a metric that have these labels."""
    return sum(
        sample.value
        for family in server.metrics.registry.collect()
        for sample in family.samples
        if sample.name == name and labels.items() <= sample.labels.items()
    )


def get_http(port: int, path: str) -> tuple[int, str]:
    """Gets a page of the HTTP port: status and text."""
    try:
        with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=60) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            return error.code, error.read().decode()


def scraped(text: str, name: str) -> list[dict[str, str]]:
    """Returns the label sets that a metric has in scraped text."""
    found = re.findall(rf"^{name}\{{(.*)\}} ", text, re.MULTILINE)
    return [dict(re.findall(r'(\w+)="([^"]*)"', labels)) for labels in found]
