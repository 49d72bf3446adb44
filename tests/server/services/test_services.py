"""The typed API over a real server: which call ends how, and that the server goes on after each bad one."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest

from muserve.errors import (
    InternalError,
    InvalidRequestError,
    MessageTooLargeError,
    ModelNotFoundError,
    ModelRefusedError,
    UnimplementedError,
)
from muserve.v1 import common_pb2, model_pb2
from tests.bundles import image_bundle
from tests.music_bundles import chord_bundle
from tests.server.calling import failure_of, metric
from tests.server.services.imaging import GENERATE, Gated, Request, Running, running


async def test_each_wrong_field_comes_back_as_a_violation(server: Running) -> None:
    error = await failure_of(server.images.GenerateImages(Request(count=0, truncation=3)))
    assert isinstance(error, InvalidRequestError)
    assert [violation.field for violation in error.violations] == ["count", "truncation"]
    assert error.message.startswith("count: is 0; allowed: 1 up to 256; truncation: is 3")
    await server.still_answers()


@pytest.mark.parametrize("label", ["x" * 1_000_000, "\N{GRINNING FACE}" * 10_000, "\x00" * 10_000, "a\nb"])
async def test_a_long_or_odd_label_still_gets_its_error(server: Running, label: str) -> None:
    """Errors travel in headers, which have a limit: what the caller sent is repeated in part only."""
    call = server.images.GenerateImages(Request(labels=[label] * 20))
    error = await failure_of(call)
    assert isinstance(error, InvalidRequestError)
    headers = {"grpc-message": quote(await call.details()), **dict(await call.trailing_metadata())}
    assert sum(len(key) + len(value) + 32 for key, value in headers.items()) < 8192
    assert error.violations[0].field == "labels[0]"
    assert error.violations[0].description.startswith("is '")
    await server.still_answers()


async def test_very_many_labels_are_refused_without_looking_at_each(server: Running) -> None:
    error = await failure_of(server.images.GenerateImages(Request(labels=["nope"] * 1_000_000)))
    assert isinstance(error, InvalidRequestError)
    assert error.violations[0].field == "labels"
    await server.still_answers()


async def test_unknown_models_and_versions_say_what_is_there(server: Running) -> None:
    for call in (server.images.GenerateImages(Request(model="nope")), server.models.GetModel(get("nope"))):
        error = await failure_of(call)
        assert isinstance(error, ModelNotFoundError)
        assert error.message == "model is 'nope'; this server has shapes"
    for call in (server.images.GenerateImages(Request(version=9)), server.models.GetModel(get("shapes", 9))):
        error = await failure_of(call)
        assert isinstance(error, ModelNotFoundError)
        assert error.message == "version is 9; model 'shapes' has the versions 1"
    assert isinstance(await failure_of(server.images.GenerateImages(Request(version=0))), ModelNotFoundError)
    long = await failure_of(server.images.GenerateImages(Request(model="x" * 100_000)))
    assert isinstance(long, ModelNotFoundError)
    await server.still_answers()


def get(name: str, version: int | None = None) -> model_pb2.GetModelRequest:
    return model_pb2.GetModelRequest(name=name, version=version)


async def test_a_model_of_another_task_is_not_found(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    chord_bundle(tmp_path, "tunes")
    async with running(tmp_path) as server:
        error = await failure_of(server.images.GenerateImages(Request(model="tunes")))
        assert isinstance(error, ModelNotFoundError)
        assert error.message == "model 'tunes' is not a model of the task image; available: shapes"
        listed = await server.models.ListModels(model_pb2.ListModelsRequest(task=common_pb2.TASK_MUSIC))
        assert [model.name for model in listed.models] == ["tunes"]
        await server.still_answers()


async def test_models_are_listed_with_their_state(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    image_bundle(tmp_path, version=2)
    (image_bundle(tmp_path, version=3) / "graphs/generator.onnx").unlink()
    (tmp_path / "shapes/4").mkdir()
    async with running(tmp_path) as server:
        models = (await server.models.ListModels(model_pb2.ListModelsRequest())).models
        ready, refused = model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_REFUSED
        assert [(m.version, m.state, m.default) for m in models] == [
            (1, ready, False), (2, ready, True), (3, refused, False), (4, refused, False),
        ]  # fmt: skip
        assert "generator.onnx is missing" in models[2].reason
        assert [bool(model.digest) for model in models] == [True, True, True, False]
        newest = await server.models.GetModel(get("shapes"))
        assert newest.model == models[1]
        assert newest.manifest.graphs[0].role == "generator"
        assert not (await server.models.GetModel(get("shapes", 4))).HasField("manifest")
        error = await failure_of(server.images.GenerateImages(Request(version=3)))
        assert isinstance(error, ModelRefusedError)
        for call in (
            server.models.GetModel(get("")),
            server.models.ListModels(model_pb2.ListModelsRequest(task=77)),  # type: ignore[arg-type]
        ):
            assert isinstance(await failure_of(call), InvalidRequestError)
        await server.still_answers()


async def test_the_request_id_comes_back(server: Running) -> None:
    call = server.images.GenerateImages(Request(), metadata=(("x-request-id", "abc-1"),))
    assert (await call).info.request_id == "abc-1"
    drawn = [(await server.images.GenerateImages(Request())).info.request_id for _ in range(2)]
    assert drawn[0] != drawn[1]
    assert all(drawn)
    error = await failure_of(server.images.GenerateImages(Request(count=0), metadata=(("x-request-id", "abc-2"),)))
    assert error.request_id == "abc-2"
    long = await server.images.GenerateImages(Request(), metadata=(("x-request-id", "y" * 1000),))
    assert long.info.request_id == "y" * 128


@pytest.mark.parametrize("data", [b"\xff" * 10, b"\x0a\x05ab", b"\x0a\x02\xff\xfe"])
async def test_bytes_that_are_no_message_are_the_callers_fault(server: Running, data: bytes) -> None:
    error = await failure_of(server.channel.unary_unary(GENERATE)(data))
    assert isinstance(error, InvalidRequestError)
    assert "not a message" in error.message
    await server.still_answers()


async def test_an_unknown_method_is_unimplemented(server: Running) -> None:
    for method in ("/muserve.v1.ImageService/Nope", "/muserve.v9.Nope/Nope"):
        assert isinstance(await failure_of(server.channel.unary_unary(method)(b"")), UnimplementedError)
    await server.still_answers()


async def test_a_request_above_the_message_limit_is_refused(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    async with running(tmp_path, max_message_mib=1) as server:
        error = await failure_of(server.images.GenerateImages(Request(model="x" * 2**20)))
        assert isinstance(error, MessageTooLargeError)
        fits = await failure_of(server.images.GenerateImages(Request(model="x" * (2**20 - 100))))
        assert isinstance(fits, ModelNotFoundError)
        await server.still_answers()


async def test_an_answer_above_the_message_limit_is_refused_and_counted(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    async with running(tmp_path, max_message_mib=1, max_samples_per_call=8000, max_queue_rows=8000) as server:
        error = await failure_of(server.images.GenerateImages(Request(count=8000)))
        assert isinstance(error, MessageTooLargeError)
        assert "max_message_mib" in error.message
        assert metric(server.server, "muserve_request_seconds_count", code="RESOURCE_EXHAUSTED", model="shapes") == 1
        await server.still_answers()


async def test_an_unexpected_exception_tells_the_log_and_not_the_caller(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    image_bundle(tmp_path)

    async def fail(request: Request) -> None:
        if request.seed == 13:
            raise ZeroDivisionError("a secret")

    async with running(tmp_path, options=Gated(fail).options()) as server:
        call = server.images.GenerateImages(Request(seed=13), metadata=(("x-request-id", "find-me"),))
        error = await failure_of(call)
        assert isinstance(error, InternalError)
        assert error.message == "the server failed; its log has the reason under request id find-me"
        assert error.request_id == "find-me"
        (record,) = [record for record in caplog.records if record.message == "call failed"]
        assert record.exc_info is not None
        assert record.exc_info[0] is ZeroDivisionError
        facts = record.__dict__
        assert (facts["request_id"], facts["model"], facts["version"], facts["method"]) == (
            "find-me", "shapes", "1", GENERATE,
        )  # fmt: skip
        assert metric(server.server, "muserve_request_seconds_count", code="INTERNAL", model="shapes") == 1
        await server.still_answers()
