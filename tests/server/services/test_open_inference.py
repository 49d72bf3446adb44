"""The Open Inference Protocol over a real server: what it lists, describes and counts, and the names of graphs."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muserve import __version__
from muserve.errors import (
    DeadlineExceededError,
    InvalidRequestError,
    ModelNotFoundError,
    ModelRefusedError,
    UnavailableError,
    UnimplementedError,
)
from muserve.inference import infer_pb2, model_config_pb2, model_repository_pb2, model_statistics_pb2, service_pb2
from muserve.v1 import image_pb2, image_pb2_grpc
from muserve_server.app import Server
from muserve_server.model import LocalOptions
from muserve_server.settings import build_settings
from muserve_server.tasks import installed_kinds
from tests.bundles import LATENT_SIZE, image_bundle
from tests.music_bundles import music_bundle
from tests.server.calling import channel_to, failure_of, metric, serving_as
from tests.server.holding import held_until, served_model
from tests.server.services.inferring import SERVICE, Inference, raw_request, tensors_of
from tests.server.waiting import until

running = partial(serving_as, Inference)
Statistics = model_statistics_pb2.ModelStatistics


def latents(rows: int) -> dict[str, Any]:
    return {
        "latent": np.random.default_rng(rows).standard_normal((rows, LATENT_SIZE)).astype(np.float32),
        "truncation": np.ones(rows, np.float32),
    }


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Inference]:
    """A model with one graph in both versions, one with two graphs in its second, and one that is refused."""
    for version in (1, 2):
        image_bundle(tmp_path, version=version)
    music_bundle(tmp_path, version=1, accompanist=False)
    music_bundle(tmp_path, version=2)
    (image_bundle(tmp_path, version=3) / "graphs/generator.onnx").unlink()
    (tmp_path / "torn/1").mkdir(parents=True)
    async with running(tmp_path) as made:
        yield made


async def test_the_server_says_what_it_is_and_only_what_works(server: Inference) -> None:
    assert (await server.ServerLive(service_pb2.ServerLiveRequest())).live
    assert (await server.ServerReady(service_pb2.ServerReadyRequest())).ready
    about = await server.ServerMetadata(service_pb2.ServerMetadataRequest())
    assert (about.name, about.version) == ("muserve", __version__)
    assert set(about.extensions) == {"model_configuration", "statistics"}


async def test_what_is_not_offered_is_unimplemented(server: Inference) -> None:
    for method in ("RepositoryModelLoad", "RepositoryModelUnload", "ModelStreamInfer", "TraceSetting"):
        assert isinstance(await failure_of(server.channel.unary_unary(f"/{SERVICE}/{method}")(b"")), UnimplementedError)


async def test_a_server_that_drains_is_live_and_not_ready(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    async with running(tmp_path) as server:
        server.server._health.drain()
        assert (await server.ServerLive(service_pb2.ServerLiveRequest())).live
        assert not (await server.ServerReady(service_pb2.ServerReadyRequest())).ready
        assert len(tensors_of(await server.ModelInfer(raw_request("shapes", latents(1))))) == 1


async def test_while_a_model_loads_calls_for_it_wait_and_readiness_says_so(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for version in (1, 2):
        image_bundle(tmp_path, version=version, weights_seed=version)
    gate = asyncio.Event()
    load = Server._load

    async def slow_load(self: Server, folder: Path) -> Any:
        await gate.wait()
        return await load(self, folder)

    monkeypatch.setattr(Server, "_load", slow_load)
    server = Server(build_settings({"models": tmp_path, "grpc_port": 0, "http_port": 0, "front": "grpcio"}))
    starting = asyncio.create_task(server.start())
    await until(lambda: len(server._repository.entries()) == 2)
    async with channel_to(server.grpc_port) as channel:
        calls = Inference(server, channel)
        assert (await calls.ServerLive(service_pb2.ServerLiveRequest())).live
        assert not (await calls.ServerReady(service_pb2.ServerReadyRequest())).ready
        assert not (await calls.ModelReady(service_pb2.ModelReadyRequest(name="shapes"))).ready
        listed = (await calls.RepositoryIndex(model_repository_pb2.RepositoryIndexRequest())).models
        assert [(model.name, model.state) for model in listed] == [("shapes", "LOADING")] * 2
        error = await failure_of(calls.ModelInfer(raw_request("shapes", latents(1)), timeout=0.5))
        assert isinstance(error, UnavailableError | DeadlineExceededError)
        described = calls.ModelMetadata(service_pb2.ModelMetadataRequest(name="shapes"))
        answered = calls.ModelInfer(raw_request("shapes", latents(1)))
        await until(lambda: metric(server, "muserve_calls_in_progress") == 2)
        gate.set()
        assert (await answered).model_version == "2"
        assert "2" in (await described).versions
        await starting
        assert (await calls.ServerReady(service_pb2.ServerReadyRequest())).ready
    await server.stop(drain=False)


class NoHandlers:
    """A task of a kind that has no service."""

    def handlers(self) -> dict[str, Any]:
        return {}


async def test_a_kind_without_a_service_is_served_here(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    kinds = installed_kinds()
    bare = replace(kinds["image"], service=None, open=lambda _bundle, _limits: NoHandlers())
    async with running(tmp_path, options=LocalOptions(kinds=kinds.with_kind(bare))) as server:
        assert tensors_of(await server.ModelInfer(raw_request("shapes", latents(2))))["image"].shape[0] == 2
        call = image_pb2_grpc.ImageServiceStub(server.channel).GenerateImages(image_pb2.GenerateImagesRequest())
        assert isinstance(await failure_of(call), UnimplementedError)


async def test_a_server_without_models_is_not_ready(tmp_path: Path) -> None:
    async with running(tmp_path) as server:
        assert not (await server.ServerReady(service_pb2.ServerReadyRequest())).ready
        assert not (await server.RepositoryIndex(model_repository_pb2.RepositoryIndexRequest())).models


async def test_health_knows_the_service(server: Inference) -> None:
    health = health_pb2_grpc.HealthStub(server.channel)
    answer = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    assert answer.status == health_pb2.HealthCheckResponse.SERVING


async def test_the_index_lists_every_graph_of_every_version(server: Inference) -> None:
    listed = (await server.RepositoryIndex(model_repository_pb2.RepositoryIndexRequest())).models
    assert [(model.name, model.version, model.state) for model in listed] == [
        ("band", "1", "READY"),
        ("band.accompanist", "2", "READY"),
        ("band.generator", "2", "READY"),
        ("shapes", "1", "READY"),
        ("shapes", "2", "READY"),
        ("shapes", "3", "UNAVAILABLE"),
        ("torn", "1", "UNAVAILABLE"),
    ]
    assert "generator.onnx is missing" in listed[5].reason
    assert "manifest.json" in listed[6].reason
    ready = (await server.RepositoryIndex(model_repository_pb2.RepositoryIndexRequest(ready=True))).models
    assert list(ready) == list(listed[:5])


async def test_every_name_of_the_index_can_be_asked_for(server: Inference) -> None:
    for model in (await server.RepositoryIndex(model_repository_pb2.RepositoryIndexRequest())).models:
        ready = await server.ModelReady(service_pb2.ModelReadyRequest(name=model.name, version=model.version))
        assert ready.ready == (model.state == "READY")
        asked = server.ModelMetadata(service_pb2.ModelMetadataRequest(name=model.name, version=model.version))
        if ready.ready:
            assert (await asked).name == model.name
        else:
            assert isinstance(await failure_of(asked), ModelRefusedError)


async def test_a_graph_has_a_full_name_and_a_short_one_where_it_is_alone(server: Inference) -> None:
    for name, version, versions, inputs in (
        ("shapes", "", ["1", "2"], 2),
        ("shapes.generator", "1", ["1", "2"], 2),
        ("band", "1", ["1"], 5),
        ("band.generator", "", ["1", "2"], 5),
        ("band.accompanist", "", ["2"], 8),
    ):
        described = await server.ModelMetadata(service_pb2.ModelMetadataRequest(name=name, version=version))
        assert (described.name, list(described.versions), len(described.inputs)) == (name, versions, inputs)
        assert (await server.ModelReady(service_pb2.ModelReadyRequest(name=name, version=version))).ready


NOT_FOUND = (
    ("nonesuch", "", "model is 'nonesuch'; this server has band, shapes, torn"),
    ("shapes", "9", "version is 9; model 'shapes' has the versions 1, 2, 3"),
    ("shapes", "v1", "version is 'v1'; versions are whole numbers: '2'"),
    ("shapes", "01", "version is '01'; versions are whole numbers: '2'"),
    ("shapes", "9" * 5000, f"version is '{'9' * 50}'; versions are whole numbers: '2'"),
    ("band", "", "model band/2 has several graphs; name one of them: band.generator, band.accompanist"),
    ("shapes.reader", "", "model shapes/2 has no graph 'reader'; its graphs are: shapes"),
    ("band.accompanist", "1", "model band/1 has no graph 'accompanist'; its graphs are: band"),
)


async def test_what_is_not_there_is_not_found_and_says_what_is(server: Inference) -> None:
    for name, version, message in NOT_FOUND:
        for call in (
            server.ModelReady(service_pb2.ModelReadyRequest(name=name, version=version)),
            server.ModelMetadata(service_pb2.ModelMetadataRequest(name=name, version=version)),
            server.ModelConfig(model_config_pb2.ModelConfigRequest(name=name, version=version)),
            server.ModelInfer(infer_pb2.ModelInferRequest(model_name=name, model_version=version)),
        ):
            error = await failure_of(call)
            assert isinstance(error, ModelNotFoundError)
            assert error.message == message
    for name, version in (("nonesuch", ""), ("shapes", "9"), ("band.accompanist", "1")):
        assert isinstance(await failure_of(statistics(server, name, version)), ModelNotFoundError)


async def test_a_call_without_a_name_is_refused(server: Inference) -> None:
    for call in (
        server.ModelReady(service_pb2.ModelReadyRequest()),
        server.ModelInfer(infer_pb2.ModelInferRequest(model_name=".generator")),
    ):
        error = await failure_of(call)
        assert isinstance(error, InvalidRequestError)
        assert "RepositoryIndex lists the names" in error.message


async def test_metadata_says_datatypes_and_shapes(server: Inference) -> None:
    described = await server.ModelMetadata(service_pb2.ModelMetadataRequest(name="band.generator"))
    assert described.platform == "onnx_onnxv1"
    inputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in described.inputs}
    assert inputs["constant"] == ("FP32", [-1, 8])
    assert inputs["style"] == ("INT64", [-1])
    outputs = {tensor.name: (tensor.datatype, list(tensor.shape)) for tensor in described.outputs}
    assert outputs["onset"] == ("FP32", [-1, 2, 3, 16, 48])
    # MLServer's client reads field 6 as a map to messages, and text in it as broken ones.
    assert not described.properties


async def test_the_configuration_says_how_it_is_run(tmp_path: Path) -> None:
    music_bundle(tmp_path)
    async with running(tmp_path, max_batch_rows=4, max_delay_ms=3.0) as server:
        request = model_config_pb2.ModelConfigRequest(name="band.generator", version="1")
        config = (await server.ModelConfig(request)).config
        assert (config.name, config.platform, config.backend) == ("band.generator", "onnx_onnxv1", "onnxruntime")
        assert config.max_batch_size == 4
        assert config.dynamic_batching.max_queue_delay_microseconds == 3000
        inputs = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in config.input}
        assert inputs["constant"] == (model_config_pb2.TYPE_FP32, [8])
        assert inputs["style"] == (model_config_pb2.TYPE_INT64, [])
        outputs = {tensor.name: (tensor.data_type, list(tensor.dims)) for tensor in config.output}
        assert outputs["onset"] == (model_config_pb2.TYPE_FP32, [2, 3, 16, 48])


async def statistics(server: Inference, name: str = "", version: str = "") -> list[Statistics]:
    request = model_statistics_pb2.ModelStatisticsRequest(name=name, version=version)
    return list((await server.ModelStatistics(request)).model_stats)


async def test_statistics_count_the_calls_of_both_apis(tmp_path: Path) -> None:
    for version in (1, 2):
        image_bundle(tmp_path, version=version)
    async with running(tmp_path) as server:
        images = image_pb2_grpc.ImageServiceStub(server.channel)
        for stats in await statistics(server):
            assert (stats.execution_count, stats.last_inference, stats.inference_stats.success.count) == (0, 0, 0)
        with held_until(served_model(server.server, "shapes"), rows=6):  # while one row runs, both gather
            first = asyncio.ensure_future(server.ModelInfer(raw_request("shapes", latents(1))))
            await until(lambda: served_model(server.server, "shapes").batcher("generator")._running)
            await asyncio.gather(
                first,
                server.ModelInfer(raw_request("shapes", latents(2))),
                images.GenerateImages(image_pb2.GenerateImagesRequest(count=3)),
            )
        await server.ModelInfer(raw_request("shapes", latents(5)))
        (stats,) = await statistics(server, "shapes", "2")
        assert (stats.name, stats.version, stats.inference_count, stats.execution_count) == ("shapes", "2", 11, 3)
        counted = stats.inference_stats
        assert (counted.success.count, counted.fail.count) == (4, 0)
        assert (counted.queue.count, counted.compute_infer.count) == (4, 4)
        assert counted.success.ns >= counted.compute_infer.ns > 0
        assert [(batch.batch_size, batch.compute_infer.count) for batch in stats.batch_stats] == [(1, 1), (5, 2)]
        seconds = metric(server.server, "muserve_run_seconds_sum", model="shapes", version="2")
        assert sum(batch.compute_infer.ns for batch in stats.batch_stats) == pytest.approx(seconds * 1e9, abs=10)
        assert stats.last_inference > 1_700_000_000_000
        full_name = await statistics(server, "shapes.generator")
        assert [(one.name, one.version, one.execution_count) for one in full_name] == [
            ("shapes.generator", "1", 0), ("shapes.generator", "2", 3),
        ]  # fmt: skip
        assert [(one.name, one.version) for one in await statistics(server)] == [("shapes", "1"), ("shapes", "2")]


async def test_a_model_that_is_removed_is_gone(server: Inference, tmp_path: Path) -> None:
    shutil.rmtree(tmp_path / "band/2")
    await server.server._repository.scan()
    assert isinstance(
        await failure_of(server.ModelReady(service_pb2.ModelReadyRequest(name="band.accompanist"))), ModelNotFoundError
    )
    described = await server.ModelMetadata(service_pb2.ModelMetadataRequest(name="band"))
    assert list(described.versions) == ["1"]
