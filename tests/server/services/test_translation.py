"""ImageTranslationService over a real server: which model answers, how calls fail, and what health says of it."""

from __future__ import annotations

import asyncio
import math
from collections.abc import AsyncIterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from muserve.errors import DeadlineExceededError, InvalidRequestError, MessageTooLargeError, ModelNotFoundError
from muserve.v1 import (
    common_pb2,
    image_pb2,
    image_pb2_grpc,
    model_pb2,
    model_pb2_grpc,
    translation_pb2,
    translation_pb2_grpc,
)
from muserve_server.app import Server, StartUpError
from muserve_server.model import LocalModel
from tests.bundles import add_golden, image_bundle
from tests.server.calling import failure_of, metric, serving_as
from tests.server.holding import held_until, served_model
from tests.server.pictorial import chunk, image_file, png_header, read_png, scene
from tests.server.waiting import until
from tests.servers import serving
from tests.translation_bundles import invert_bundle, scene_bundle

METHOD = "/muserve.v1.ImageTranslationService/TranslateImage"
SERVICE = "muserve.v1.ImageTranslationService"
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
PIXELS = scene(30, 40)
IMAGE = image_file(PIXELS)
Request = translation_pb2.TranslateImageRequest


class Running:
    """A server and its stubs."""

    def __init__(self, server: Server, channel: Any) -> None:
        self.server = server
        self.channel = channel
        self.translate = translation_pb2_grpc.ImageTranslationServiceStub(channel).TranslateImage
        self.images = image_pb2_grpc.ImageServiceStub(channel)
        self.models = model_pb2_grpc.ModelServiceStub(channel)
        self._health = health_pb2_grpc.HealthStub(channel)

    async def health(self, name: str) -> Any:
        return (await self._health.Check(health_pb2.HealthCheckRequest(service=name))).status

    async def still_answers(self) -> None:
        answer = await self.translate(Request(image=IMAGE, target="map"))
        assert read_png(answer.png)[0].shape == PIXELS.shape


running = partial(serving_as, Running)


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Running]:
    scene_bundle(tmp_path)
    scene_bundle(tmp_path, version=2)
    image_bundle(tmp_path)
    async with running(tmp_path) as started:
        yield started


async def test_the_answers_are_those_of_the_model(server: Running, tmp_path: Path) -> None:
    request = Request(image=IMAGE, target="map", cycle=True, side_by_side=True)
    async with await LocalModel.open(tmp_path / "scenes" / "2") as model:
        answer = await server.translate(request, metadata=[("x-request-id", "mine")])
        expected = await model.answer(request)
        info = answer.info
        assert (info.model, info.version, info.request_id, info.seed) == ("scenes", 2, "mine", 0)
        assert info.digest == model.bundle.digest
        for one in (answer, expected):
            one.ClearField("info")
        assert answer == expected
    assert metric(server.server, "muserve_request_seconds_count", method=METHOD, code="OK", model="scenes") == 1
    for graph in ("a_to_b", "b_to_a"):
        assert metric(server.server, "muserve_batch_rows_sum", model="scenes", graph=graph) == 2


async def test_the_only_model_answers_and_its_newest_version(server: Running) -> None:
    for fields, version in (({}, 2), ({"model": "scenes"}, 2), ({"version": 1}, 1)):
        info = (await server.translate(Request(image=IMAGE, target="map", **fields))).info
        assert (info.model, info.version) == ("scenes", version)
    listed = await server.models.ListModels(model_pb2.ListModelsRequest(task=common_pb2.TASK_TRANSLATION))
    assert [(model.name, model.version, model.default) for model in listed.models] == [
        ("scenes", 1, False), ("scenes", 2, True),
    ]  # fmt: skip
    manifest = (await server.models.GetModel(model_pb2.GetModelRequest(name="scenes"))).manifest
    assert [(one.source, one.target) for one in manifest.translation.directions] == [("photo", "map"), ("map", "photo")]


async def test_models_of_another_task_are_not_found(server: Running) -> None:
    error = await failure_of(server.translate(Request(model="shapes", image=IMAGE)))
    assert isinstance(error, ModelNotFoundError)
    assert error.message == "model 'shapes' is not a model of the task translation; available: scenes"
    error = await failure_of(server.images.GenerateImages(image_pb2.GenerateImagesRequest(model="scenes")))
    assert isinstance(error, ModelNotFoundError)
    await server.still_answers()


async def test_of_two_models_the_settings_choose(tmp_path: Path) -> None:
    scene_bundle(tmp_path)
    invert_bundle(tmp_path)
    with pytest.raises(StartUpError, match="--default-models translation=negatives"):
        async with serving(tmp_path):
            pass
    async with running(tmp_path, default_models=("translation=negatives",)) as server:
        found, _ = read_png((await server.translate(Request(image=IMAGE))).png)
        np.testing.assert_array_equal(found, 255 - PIXELS)


async def test_health_is_that_of_the_task_and_it_describes_itself(tmp_path: Path) -> None:
    image_bundle(tmp_path / "images")
    scene_bundle(tmp_path / "translation")
    async with running(tmp_path / "images") as server:
        assert await server.health(SERVICE) == NOT_SERVING
        assert isinstance(await failure_of(server.translate(Request(image=IMAGE))), ModelNotFoundError)
    async with running(tmp_path / "translation") as server:
        for name in ("", SERVICE, "models/scenes"):
            assert await server.health(name) == SERVING
        stub = reflection_pb2_grpc.ServerReflectionStub(server.channel)
        stream = stub.ServerReflectionInfo(iter([reflection_pb2.ServerReflectionRequest(list_services="")]))
        listed = [service.name async for answer in stream for service in answer.list_services_response.service]
        assert SERVICE in listed


@pytest.mark.parametrize(
    ("image", "text"),
    [
        (b"", "image: is empty; allowed: a whole PNG, JPEG or WebP file"),
        (b"GIF89a", "image: is a GIF file; allowed: PNG, JPEG or WebP"),
        (IMAGE[:-3], "image: is a PNG file that is truncated; send the whole file"),
        (
            png_header(5000, 5000) + chunk(b"IEND", b""),
            "image: is 5000 × 5000, which counts as 25,000,000 pixels; allowed: up to 16,777,216; send a smaller image",
        ),
    ],
)
async def test_what_is_no_image_is_the_callers_fault(server: Running, image: bytes, text: str) -> None:
    error = await failure_of(server.translate(Request(image=image, target="map")))
    assert isinstance(error, InvalidRequestError)
    assert error.message == text
    await server.still_answers()


async def test_each_wrong_field_comes_back_as_a_violation(server: Running) -> None:
    error = await failure_of(server.translate(Request(image=b"x", target="maps" * 10_000)))
    assert isinstance(error, InvalidRequestError)
    assert [violation.field for violation in error.violations] == ["target", "image"]
    await server.still_answers()


async def test_the_limits_are_those_of_the_settings(tmp_path: Path) -> None:
    scene_bundle(tmp_path)
    async with running(tmp_path, max_pixels_per_call=1600, max_pixels_in_work=1) as server:
        for height, width in ((40, 40), (10, 50)):
            await server.translate(Request(image=image_file(scene(height, width)), target="map"))
        error = await failure_of(server.translate(Request(image=image_file(scene(40, 41)), target="map")))
        assert isinstance(error, InvalidRequestError)
        assert error.message.startswith("image: is 41 × 40, which counts as 1,640 pixels; allowed: up to 1,600")
        await server.still_answers()


async def test_an_answer_larger_than_a_message_is_refused(tmp_path: Path) -> None:
    scene_bundle(tmp_path)
    noise = np.random.default_rng(0).integers(0, 256, (300, 400, 3), dtype=np.uint8)
    async with running(tmp_path, max_message_mib=1) as server:
        request = Request(image=image_file(noise, "JPEG"), target="map", cycle=True, side_by_side=True)
        assert isinstance(await failure_of(server.translate(request)), MessageTooLargeError)
        await server.still_answers()


async def test_a_deadline_ends_a_call_that_waits_for_room_and_one_at_work(tmp_path: Path) -> None:
    scene_bundle(tmp_path)
    large = image_file(scene(1500, 1500), "JPEG")
    async with running(tmp_path, max_pixels_in_work=1_000_000) as server:  # one at a time, and the others may wait
        with held_until(served_model(server.server, "scenes"), math.inf):
            calls = [server.translate(Request(image=large, target="map"), timeout=0.5) for _ in range(3)]
            for error in await asyncio.gather(*map(failure_of, calls)):
                assert isinstance(error, DeadlineExceededError)
        await until(lambda: metric(server.server, "muserve_calls_in_progress") == 0)
        await server.still_answers()


async def test_more_tiles_than_the_queue_holds_are_answered(tmp_path: Path) -> None:
    scene_bundle(tmp_path)
    small: dict[str, Any] = {"max_queue_rows": 32, "max_samples_per_call": 32, "max_series_per_call": 32}
    async with running(tmp_path, **small) as server:
        request = Request(image=image_file(scene(200, 240), "JPEG"), target="map")  # 108 tiles
        first, *others = await asyncio.gather(*(server.translate(request) for _ in range(4)))
        assert {answer.png for answer in others} == {first.png}


async def test_goldens_are_replayed(tmp_path: Path) -> None:
    folder = scene_bundle(tmp_path)
    await add_golden(folder, Request(image=IMAGE, target="map", cycle=True))
    async with running(tmp_path) as server:
        await server.still_answers()
