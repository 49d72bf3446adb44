"""AnswerService over a real server: which model answers, how calls fail, and what health and batching say of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from grpc import aio
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from muserve.errors import DeadlineExceededError, InvalidRequestError, ModelNotFoundError
from muserve.v1 import answer_pb2, answer_pb2_grpc
from muserve_server.app import Server
from muserve_server.model import LocalModel
from tests.answer_bundles import copy_bundle
from tests.bundles import add_golden, edit_manifest, image_bundle
from tests.server.calling import channel_to, failure_of, metric
from tests.server.holding import held_until, served_model
from tests.servers import serving

Ask, Request = answer_pb2.AnswerQuestionRequest, answer_pb2.GenerateQuestionsRequest
SERVICE = "muserve.v1.AnswerService"


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    copy_bundle(tmp_path)
    copy_bundle(tmp_path, version=2)
    image_bundle(tmp_path)
    async with serving(tmp_path) as started:
        yield started


@pytest.fixture
async def channel(server: Server) -> AsyncIterator[aio.Channel]:
    async with channel_to(server.grpc_port) as opened:
        yield opened


async def test_the_answers_are_those_of_the_model(channel: aio.Channel, tmp_path: Path) -> None:
    stub = answer_pb2_grpc.AnswerServiceStub(channel)
    question, asked = Ask(question="lantern", count=5, seed=7), Request(context="A lamp is on.", seed=7)
    async with await LocalModel.open(tmp_path / "copies" / "2") as model:
        answers, pairs = await model.answer(question), await model.answer(asked)
    served = await stub.AnswerQuestion(question, metadata=[("x-request-id", "mine")])
    assert served.answers == answers.answers
    assert (served.info.model, served.info.version, served.info.request_id) == ("copies", 2, "mine")
    assert served.info.timings.compute.nanos > 0
    assert (await stub.GenerateQuestions(asked)).pairs == pairs.pairs
    first = await stub.AnswerQuestion(Ask(question="lantern", version=1, seed=7))
    assert first.info.version == 1


async def test_questions_of_many_callers_share_runs(channel: aio.Channel, server: Server) -> None:
    stub = answer_pb2_grpc.AnswerServiceStub(channel)
    alone = await stub.AnswerQuestion(Ask(question="lantern", seed=1))
    with held_until(served_model(server, "copies"), rows=24, graph="writer"):
        together = await asyncio.gather(*(stub.AnswerQuestion(Ask(question="lantern", seed=1)) for _ in range(24)))
    assert all(response.answers == alone.answers for response in together)
    assert max(response.info.timings.batch_rows for response in together) > alone.info.timings.batch_rows
    runs = metric(server, "muserve_batch_rows_count", graph="writer")
    rows = metric(server, "muserve_batch_rows_sum", graph="writer")
    assert rows > 1.5 * runs


async def test_failures_name_their_fields(channel: aio.Channel) -> None:
    stub = answer_pb2_grpc.AnswerServiceStub(channel)
    error = await failure_of(stub.AnswerQuestion(Ask(count=1000)))
    assert isinstance(error, InvalidRequestError)
    assert [violation.field for violation in error.violations] == ["question", "count"]
    assert isinstance(await failure_of(stub.AnswerQuestion(Ask(model="shapes", question="?"))), ModelNotFoundError)
    late = await failure_of(stub.AnswerQuestion(Ask(question="lantern", count=200), timeout=0.002))
    assert isinstance(late, DeadlineExceededError)
    assert (await stub.AnswerQuestion(Ask(question="lantern"))).answers


async def test_settings_bound_questions_and_texts(tmp_path: Path) -> None:
    copy_bundle(tmp_path)
    async with (
        serving(tmp_path, max_question_bytes=10, max_context_bytes=20) as server,
        channel_to(server.grpc_port) as channel,
    ):
        stub = answer_pb2_grpc.AnswerServiceStub(channel)
        error = await failure_of(stub.AnswerQuestion(Ask(question="x" * 11, context="y" * 21)))
        assert "has 11 bytes; allowed: up to 10" in str(error)
        assert "has 21 bytes; allowed: up to 20" in str(error)


async def test_health_and_reflection_know_the_service(channel: aio.Channel) -> None:
    health = health_pb2_grpc.HealthStub(channel)
    response = await health.Check(health_pb2.HealthCheckRequest(service=SERVICE))
    assert response.status == health_pb2.HealthCheckResponse.SERVING
    stream = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(
        iter([reflection_pb2.ServerReflectionRequest(list_services="")])
    )
    listed = [service.name async for answer in stream for service in answer.list_services_response.service]
    assert SERVICE in listed


async def test_goldens_of_both_kinds_are_replayed(tmp_path: Path) -> None:
    folder = copy_bundle(tmp_path)
    for kind, request in (
        ("answer_question", Ask(question="lamp", context="A lamp is on.", count=2, seed=1)),
        ("generate_questions", Request(context="A lamp is on.", seed=1)),
    ):
        edit_manifest(folder, lambda manifest: manifest.ClearField("goldens"))
        await add_golden(folder, request)
        async with await LocalModel.open(folder) as model:
            assert [golden.WhichOneof("request") for golden in model.bundle.manifest.goldens] == [kind]
