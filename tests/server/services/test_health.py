"""Health says what is true: for the server, each service, each model, at start, while serving, while draining."""

from __future__ import annotations

import asyncio
import shutil
from pathlib import Path
from typing import Any

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muserve.errors import ModelNotFoundError
from muserve.v1 import image_pb2, image_pb2_grpc
from muserve_server.app import Server
from muserve_server.model import LocalModel, LocalOptions
from muserve_server.repository import Repository
from muserve_server.services import Health
from muserve_server.settings import Settings
from muserve_server.tasks import installed_kinds
from tests.bundles import image_bundle
from tests.server.calling import channel_to, failure_of, get_http
from tests.server.waiting import until
from tests.servers import serving

SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
UNKNOWN = health_pb2.HealthCheckResponse.SERVICE_UNKNOWN
NAMES = ("", "muserve.v1.ImageService", "muserve.v1.ModelService", "models/shapes")


async def check(channel: Any, name: str) -> int:
    answer = await health_pb2_grpc.HealthStub(channel).Check(health_pb2.HealthCheckRequest(service=name))
    return int(answer.status)


def watch(channel: Any, name: str) -> Any:
    return health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest(service=name))


async def test_each_name_serves_and_an_unknown_one_is_not_found(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    async with serving(tmp_path) as server, channel_to(server.grpc_port) as channel:
        assert [await check(channel, name) for name in NAMES] == [SERVING] * 4
        assert isinstance(await failure_of(check(channel, "x" * 100_000)), ModelNotFoundError)  # plain NOT_FOUND
        unknown = watch(channel, "models/later")
        assert (await unknown.read()).status == UNKNOWN
        unknown.cancel()


async def test_without_a_model_nothing_that_needs_one_serves(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, channel_to(server.grpc_port) as channel:
        assert [await check(channel, name) for name in NAMES[:3]] == [NOT_SERVING, NOT_SERVING, SERVING]
        assert (await asyncio.to_thread(get_http, server.http_port, "/readyz"))[0] == 503


async def test_while_loading_it_is_not_serving_and_then_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    image_bundle(tmp_path)
    gate = asyncio.Event()
    load = Server._load

    async def slow_load(self: Server, folder: Path) -> Any:
        await gate.wait()
        return await load(self, folder)

    monkeypatch.setattr(Server, "_load", slow_load)
    server = Server(Settings(models=(tmp_path,), grpc_port=0, http_port=0, poll_interval_s=0))
    starting = asyncio.create_task(server.start())
    await until(lambda: server.http_port)
    async with channel_to(server.grpc_port) as channel:
        for name in NAMES[:3]:
            assert await check(channel, name) == NOT_SERVING
        watching = watch(channel, "")
        assert (await watching.read()).status == NOT_SERVING
        assert await asyncio.to_thread(get_http, server.http_port, "/readyz") == (503, "not ready\n")
        assert await asyncio.to_thread(get_http, server.http_port, "/healthz") == (200, "ok\n")
        gate.set()
        await starting
        assert (await watching.read()).status == SERVING
        assert await asyncio.to_thread(get_http, server.http_port, "/readyz") == (200, "ready\n")
        watching.cancel()
    await server.stop(drain=False)


async def test_models_that_come_and_go_are_watched(tmp_path: Path) -> None:
    image_bundle(tmp_path / "later")
    (tmp_path / "models").mkdir()
    async with (
        serving(tmp_path / "models", poll_interval_s=0.01) as server,
        channel_to(server.grpc_port) as channel,
    ):
        watches = {name: watch(channel, name) for name in NAMES}
        first = {name: (await stream.read()).status for name, stream in watches.items()}
        assert first == dict(zip(NAMES, (NOT_SERVING, NOT_SERVING, SERVING, UNKNOWN), strict=True))
        shutil.copytree(tmp_path / "later", tmp_path / "models", dirs_exist_ok=True)
        for name in ("", "muserve.v1.ImageService", "models/shapes"):
            assert (await watches[name].read()).status == SERVING
        shutil.rmtree(tmp_path / "models/shapes")
        for name in ("", "muserve.v1.ImageService", "models/shapes"):
            assert (await watches[name].read()).status == NOT_SERVING
        for stream in watches.values():
            stream.cancel()


async def test_while_draining_it_says_no_and_still_answers(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    options = LocalOptions()
    server = Server(
        Settings(models=(tmp_path,), grpc_port=0, http_port=0, drain_delay_s=60, poll_interval_s=0.01), options
    )
    await server.start()
    async with channel_to(server.grpc_port) as channel:
        watching = watch(channel, "models/shapes")
        assert (await watching.read()).status == SERVING
        stopping = asyncio.create_task(server.stop())
        assert (await watching.read()).status == NOT_SERVING
        image_bundle(tmp_path, version=2)  # nothing that comes now makes it serve again
        for name in NAMES:
            assert await check(channel, name) == NOT_SERVING
        assert (await asyncio.to_thread(get_http, server.http_port, "/readyz"))[0] == 503
        stub = image_pb2_grpc.ImageServiceStub(channel)
        assert (await stub.GenerateImages(image_pb2.GenerateImagesRequest())).images
        watching.cancel()
    server._stopping.cancel()  # type: ignore[union-attr]
    await asyncio.gather(stopping, return_exceptions=True)
    server._stopping = None
    await server.stop(drain=False)


async def test_after_a_drain_nothing_makes_it_serve_again(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    health = Health({"images": "image"}, ())
    repository = Repository(
        (tmp_path,), LocalModel.open, {}, {}, kinds=installed_kinds(), on_change=lambda: health.update(repository)
    )
    await repository.scan(starting=True)
    assert health.ready
    health.drain()
    health.update(repository)
    assert not health.ready
    await repository.close()
