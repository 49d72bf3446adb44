"""Starting and stopping a server, in this process."""

from __future__ import annotations

import asyncio
import socket
import threading
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from muserve.errors import UnavailableError
from muserve.v1 import image_pb2, image_pb2_grpc
from muserve_server.app import Server, StartUpError
from muserve_server.settings import Settings
from tests.bundles import image_bundle
from tests.server.calling import channel_to, failure_of, get_http
from tests.server.waiting import WAIT_S, until
from tests.servers import serving


@pytest.mark.parametrize("setting", ["grpc_port", "http_port"])
async def test_a_taken_port_is_a_clear_error(tmp_path: Path, setting: str) -> None:
    image_bundle(tmp_path)
    before = set(threading.enumerate())
    async with serving(tmp_path) as server:
        taken = getattr(server, setting)
        ports = {"grpc_port": 0, "http_port": 0} | {setting: taken}
        other = Server(Settings(models=(tmp_path,), **ports))
        with pytest.raises(StartUpError, match=rf"{setting}.*{taken}.*--{setting.replace('_', '-')}"):
            await other.start()
        async with channel_to(server.grpc_port) as channel:  # the one that had it goes on
            await image_pb2_grpc.ImageServiceStub(channel).GenerateImages(image_pb2.GenerateImagesRequest())
    new = set(threading.enumerate()) - before
    assert not [thread for thread in new if thread.name.startswith(("http", "engine", "offload"))]


async def test_with_reuse_port_two_servers_share_a_port(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    async with (
        serving(tmp_path, reuse_port=True) as server,
        serving(tmp_path, reuse_port=True, grpc_port=server.grpc_port) as other,
    ):
        assert other.grpc_port == server.grpc_port


async def test_it_serves_on_ipv6_too(tmp_path: Path) -> None:
    if not socket.has_ipv6:
        pytest.skip("this machine has no IPv6")
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("this machine has no IPv6")
    image_bundle(tmp_path)
    async with serving(tmp_path, host="::1") as server:
        assert server.grpc_port
        assert server.http_port


@pytest.mark.parametrize("models", ["missing", "a_file"])
async def test_a_models_folder_that_cannot_be_read_is_a_clear_error(tmp_path: Path, models: str) -> None:
    (tmp_path / "a_file").write_text("")
    with pytest.raises(StartUpError, match=f"models is .*{models}, which cannot be read"):
        await Server(Settings(models=(tmp_path / models,), grpc_port=0, http_port=0)).start()


async def test_a_device_that_is_not_there_is_a_clear_error(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    with pytest.raises(StartUpError, match="device is 'cuda', but"):
        await Server(Settings(models=(tmp_path,), grpc_port=0, http_port=0, device="cuda")).start()


async def test_stopping_before_starting_and_twice_is_no_error(tmp_path: Path) -> None:
    server = Server(Settings(models=(tmp_path,), grpc_port=0, http_port=0))
    await server.stop(drain=False)
    await server.stop()
    await server.wait()


async def test_a_start_that_is_cancelled_closes_what_it_opened(tmp_path: Path) -> None:
    for version in range(1, 20):
        image_bundle(tmp_path, version=version)
    server = Server(Settings(models=(tmp_path,), grpc_port=0, http_port=0))
    starting = asyncio.create_task(server.start())
    await until(lambda: server.http_port)
    starting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await starting
    await server.wait()
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", server.http_port)) != 0


async def test_an_open_watch_does_not_hold_up_the_stop(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    async with serving(tmp_path, grace_s=600.0) as server, channel_to(server.grpc_port) as channel:
        watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.SERVING
        async with asyncio.timeout(WAIT_S):
            await server.stop(drain=False)
        assert (await watch.read()).status == health_pb2.HealthCheckResponse.NOT_SERVING
        assert isinstance(await failure_of(watch.read()), UnavailableError)


async def test_reflection_lists_the_services(tmp_path: Path) -> None:
    async with serving(tmp_path) as server, channel_to(server.grpc_port) as channel:
        stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo()
        await stream.write(reflection_pb2.ServerReflectionRequest(list_services=""))
        answer = await stream.read()
        await stream.done_writing()
        assert {service.name for service in answer.list_services_response.service} == {
            "grpc.health.v1.Health",
            "grpc.reflection.v1alpha.ServerReflection",
            "inference.GRPCInferenceService",
            "muserve.v1.AnswerService",
            "muserve.v1.ForecastService",
            "muserve.v1.ImageService",
            "muserve.v1.ImageTranslationService",
            "muserve.v1.ModelService",
            "muserve.v1.MusicService",
        }
        stream.cancel()


async def test_http_has_metrics_liveness_and_nothing_else(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    async with serving(tmp_path) as server:
        for path, status in {
            "/metrics": 200,
            "/healthz": 200,
            "/readyz?verbose": 200,
            "/": 404,
            "/../etc": 404,
        }.items():
            found, text = await asyncio.to_thread(get_http, server.http_port, path)
            assert found == status
            assert text
