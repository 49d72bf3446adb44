"""Tiny real gRPC servers that answer as a test says, and one way to call them with either skin."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, NoReturn

import grpc
import pytest
from grpc_health.v1 import health_pb2_grpc
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse

from muserve.errors import STATUS_DETAILS_KEY, MuserveError, to_status
from muserve.v1 import (
    common_pb2,
    forecast_pb2,
    forecast_pb2_grpc,
    image_pb2,
    image_pb2_grpc,
    manifest_pb2,
    model_pb2,
    model_pb2_grpc,
    music_pb2_grpc,
)
from muserve_client import AsyncClient, Client
from muserve_client.cli import main

__all__ = [
    "FakeServer",
    "Skin",
    "both_skins",
    "call",
    "fail",
    "failed",
    "fake_model",
    "fake_server",
    "healthy",
    "verified",
]

Skin = type[Client] | type[AsyncClient]
both_skins = pytest.mark.parametrize("skin", [Client, AsyncClient])


@dataclass
class FakeServer:
    """What a fake server has seen."""

    target: str = ""
    metadata: list[dict[str, str | bytes]] = field(default_factory=list)
    """Of each call."""
    remaining_s: list[float | None] = field(default_factory=list)
    """Until the deadline of each call; gRPC gives an enormous number where there is none."""
    peers: set[str] = field(default_factory=set)
    """The connections that calls came over."""
    lock: threading.Lock = field(default_factory=threading.Lock)

    @property
    def calls(self) -> int:
        """How many calls came."""
        return len(self.metadata)

    def see(self, context: grpc.ServicerContext) -> int:
        """Notes a call; returns its number, from 1."""
        with self.lock:
            self.metadata.append(dict(context.invocation_metadata()))
            self.peers.add(context.peer())
            self.remaining_s.append(context.time_remaining())
            return self.calls


Answer = Callable[[Any, grpc.ServicerContext, int], Any]
"""Answers a request of any method; the last argument is the call's number, from 1."""


class _Servicer(
    image_pb2_grpc.ImageServiceServicer,
    forecast_pb2_grpc.ForecastServiceServicer,
    music_pb2_grpc.MusicServiceServicer,
    model_pb2_grpc.ModelServiceServicer,
):
    def __init__(self, server: FakeServer, answer: Answer) -> None:
        self._server, self._answer = server, answer

    def _any(self, request: Any, context: grpc.ServicerContext) -> Any:
        return self._answer(request, context, self._server.see(context))

    GenerateImages = Forecast = GenerateMusic = Accompany = ListModels = GetModel = _any


@contextmanager
def fake_server(
    answer: Answer,
    *,
    address: str = "127.0.0.1:0",
    credentials: grpc.ServerCredentials | None = None,
    health: health_pb2_grpc.HealthServicer | None = None,
) -> Iterator[FakeServer]:
    """A gRPC server with the methods of the typed API, all answered by one function; without health unless given."""
    fake = FakeServer()
    with ThreadPoolExecutor(32) as threads:
        server = grpc.server(threads, options=[("grpc.max_receive_message_length", 64 * 2**20)])
        servicer = _Servicer(fake, answer)
        image_pb2_grpc.add_ImageServiceServicer_to_server(servicer, server)
        forecast_pb2_grpc.add_ForecastServiceServicer_to_server(servicer, server)
        music_pb2_grpc.add_MusicServiceServicer_to_server(servicer, server)
        model_pb2_grpc.add_ModelServiceServicer_to_server(servicer, server)
        if health:
            health_pb2_grpc.add_HealthServicer_to_server(health, server)
        port = server.add_secure_port(address, credentials) if credentials else server.add_insecure_port(address)
        fake.target = address if address.startswith("unix:") else f"127.0.0.1:{port}"
        server.start()
        try:
            yield fake
        finally:
            server.stop(None).wait()


def healthy(*services: str) -> HealthServicer:
    """The health of a server on which some services are healthy, and no others are known."""
    # Else it sends under the lock that the end of another watch waits for, in the thread that must send.
    health = HealthServicer(experimental_non_blocking=False)
    for service in services:
        health.set(service, HealthCheckResponse.SERVING)
    return health


def fail(context: grpc.ServicerContext, error: MuserveError) -> NoReturn:
    """Ends a call with an error as the real server would."""
    context.set_trailing_metadata(((STATUS_DETAILS_KEY, to_status(error).SerializeToString()),))
    context.abort(error.code, error.message)
    raise AssertionError  # abort has raised


def one_image(png: bytes = b"png") -> image_pb2.GenerateImagesResponse:
    """An answer with one image."""
    return image_pb2.GenerateImagesResponse(images=[image_pb2.GeneratedImage(png=png, width=1, height=1)])


def echo(request: forecast_pb2.ForecastRequest, **info: Any) -> forecast_pb2.ForecastResponse:
    """An answer that says of each series its number of values, then its last value, over and over."""
    response = forecast_pb2.ForecastResponse(info=common_pb2.ResponseInfo(**info))
    for series in request.series:
        point = [len(series.values), *[series.values[-1]] * (request.horizon - 1)]
        forecast = response.forecasts.add(id=series.id, point=point, direct_steps=request.horizon)
        for level in sorted(request.quantiles):
            forecast.quantiles.add(level=level, values=[level] * request.horizon)
    return response


def empty(request: Any) -> Any:
    """The empty answer to a request."""
    if isinstance(request, image_pb2.GenerateImagesRequest):
        return one_image()
    if isinstance(request, forecast_pb2.ForecastRequest):
        return echo(request)
    return model_pb2.ListModelsResponse() if isinstance(request, model_pb2.ListModelsRequest) else _NO_MODEL


_NO_MODEL = model_pb2.GetModelResponse()


def fake_model(task: common_pb2.Task, manifest: manifest_pb2.ModelManifest, answer: Answer, digest: str = "d") -> Any:
    """A server with the model fake/1 of a task, which answers its calls as a test says."""
    model = model_pb2.Model(name="fake", version=1, task=task, state=model_pb2.MODEL_STATE_READY, digest=digest)

    def answer_all(request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if isinstance(request, model_pb2.ListModelsRequest):
            return model_pb2.ListModelsResponse(models=[model])
        if isinstance(request, model_pb2.GetModelRequest):
            return model_pb2.GetModelResponse(model=model, manifest=manifest)
        assert (request.model, request.version) == ("fake", 1)
        return answer(request, context, number)

    return fake_server(answer_all)


def verified(server: Any, capsys: pytest.CaptureFixture[str]) -> tuple[int, list[str]]:
    """Runs `muserve verify` against a fake server: its exit code and its lines."""
    with server as fake:
        code = main(["verify", "--server", fake.target])
    return code, capsys.readouterr().out.splitlines()


def failed(lines: list[str]) -> list[str]:
    """The lines of `muserve verify` about what failed."""
    return [line for line in lines if line.startswith("FAILED")]


def call(skin: Skin, target: str, method: str, /, *arguments: Any, client: Any = None, **keywords: Any) -> Any:
    """Makes one call with a client of its own.

    Args:
        skin: `Client` or `AsyncClient`.
        target: The server.
        method: "images".
        arguments: Of the method.
        client: Keyword arguments of the client.
        keywords: Of the method.
    """
    if skin is Client:
        with Client(target, **(client or {})) as sync_client:
            return getattr(sync_client, method)(*arguments, **keywords)

    async def run() -> Any:
        async with AsyncClient(target, **(client or {})) as async_client:
            return await getattr(async_client, method)(*arguments, **keywords)

    return asyncio.run(run())
