"""A real server that is called from its first moment: the final version answers, or UNAVAILABLE with a delay."""

from __future__ import annotations

import asyncio
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from google.rpc import error_details_pb2, status_pb2
from grpc import StatusCode, aio
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muserve.errors import STATUS_DETAILS_KEY
from muserve.v1 import image_pb2, image_pb2_grpc, model_pb2, model_pb2_grpc
from muserve_server.app import Server, StartUpError
from muserve_server.settings import build_settings
from tests.bundles import image_bundle
from tests.server.calling import channel_to
from tests.server.waiting import DEADLINES_S, WAIT_S, until

CALLERS = 8
SERVING, NOT_SERVING = health_pb2.HealthCheckResponse.SERVING, health_pb2.HealthCheckResponse.NOT_SERVING
LOADING, READY, REFUSED = model_pb2.MODEL_STATE_LOADING, model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_REFUSED
SERVICE = "muserve.v1.ImageService"
PORTS = {"grpc_port": 0, "http_port": 0}


class Starting:
    """A server whose loading is held back, called by some callers at once, and what they were told."""

    channel: aio.Channel

    def __init__(self, server: Server) -> None:
        self.server = server
        self.loading: list[str] = []
        self.all_versions: list[int] = []
        self.unavailable = 0
        self._gates: dict[str, asyncio.Event] = {}
        self._load = server._repository._load
        server._repository._load = self._held
        self.start = asyncio.create_task(server.start())

    @property
    def waiting(self) -> int:
        """How many calls wait for a model."""
        return self.server._repository._waiting._calls

    async def _held(self, path: Path) -> Any:
        self.loading.append(path.name)
        await self._gates.setdefault(path.name, asyncio.Event()).wait()
        return await self._load(path)

    def release(self, *versions: str) -> None:
        """Lets versions load, now or later."""
        for version in versions:
            self._gates.setdefault(version, asyncio.Event()).set()

    async def scan(self, until_loading: str) -> asyncio.Task[None]:
        """Begins a scan and waits until it loads a version."""
        scanning = asyncio.create_task(self.server._repository.scan())
        await until(lambda: until_loading in self.loading)
        return scanning

    async def answered(self) -> set[int]:
        """Waits for more answers; which versions gave them."""
        before = len(self.all_versions)
        await until(lambda: len(self.all_versions) >= before + 3 * CALLERS)
        return set(self.all_versions[before:])

    async def settled(self) -> None:
        """Waits until every call that is under way has ended."""
        await self.answered()

    async def call_for_ever(self) -> None:
        """Calls again and again."""
        while True:
            await self.call()

    async def call(self, timeout_s: float | None = None, version: int | None = None) -> None:
        """Calls once; fails the test if it ends otherwise than well or to be tried again."""
        request = image_pb2.GenerateImagesRequest(seed=1, version=version, model="digits" if version else "")
        try:
            response = await image_pb2_grpc.ImageServiceStub(self.channel).GenerateImages(request, timeout=timeout_s)
        except aio.AioRpcError as error:
            if error.code() is not StatusCode.UNAVAILABLE or not retry_delay_s(error):
                raise
            self.unavailable += 1
        else:
            self.all_versions.append(response.info.version)

    async def health(self) -> dict[str, int]:
        """Asks for the health of all."""
        answer = await health_pb2_grpc.HealthStub(self.channel).List(health_pb2.HealthListRequest())
        return {name: status.status for name, status in answer.statuses.items()}

    async def models(self) -> dict[int, tuple[int, bool]]:
        """Asks for the state of each version, and whether it is the default."""
        answer = await model_pb2_grpc.ModelServiceStub(self.channel).ListModels(model_pb2.ListModelsRequest())
        return {model.version: (model.state, model.default) for model in answer.models}


def retry_delay_s(error: aio.AioRpcError) -> float:
    """Reads google.rpc.RetryInfo as a client that knows nothing of Muserve would."""
    status, retry = status_pb2.Status(), error_details_pb2.RetryInfo()
    details = dict(error.trailing_metadata() or ())[STATUS_DETAILS_KEY]
    status.MergeFromString(details)
    assert any(detail.Unpack(retry) for detail in status.details)
    return float(retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9)


@asynccontextmanager
async def starting(models: Path, *, callers: int = CALLERS, **settings: Any) -> AsyncIterator[Starting]:
    """A server that has just begun to start, called by so many at a time until the end."""
    patient = {"poll_interval_s": 0.0, "default_deadline_s": 300.0, **PORTS}
    server = Server(build_settings({"models": models}, patient, settings))
    made = Starting(server)
    await until(lambda: server.http_port)
    async with channel_to(server.grpc_port) as made.channel:
        calling = [asyncio.create_task(made.call_for_ever()) for _ in range(callers)]
        try:
            yield made
        finally:
            for task in (*calling, made.start):
                task.cancel()
            ended = await asyncio.gather(*calling, return_exceptions=True)
            await asyncio.gather(made.start, return_exceptions=True)
            await server.stop(drain=False)
    assert [error for error in ended if not isinstance(error, asyncio.CancelledError)] == []
    assert server._repository._waiting._calls == 0


async def test_a_starting_server_answers_only_with_the_final_version(tmp_path: Path) -> None:
    for version in (1, 2):
        image_bundle(tmp_path, "digits", version)
    async with starting(tmp_path) as server:
        await until(lambda: server.loading and server.waiting == CALLERS)
        assert server.loading == ["2"]
        health = await server.health()
        assert {"", SERVICE, "muserve.v1.ModelService", "muserve.v1.MusicService", "models/digits"} <= set(health)
        assert set(health.values()) == {NOT_SERVING}
        assert await server.models() == {1: (LOADING, False), 2: (LOADING, False)}
        old = asyncio.create_task(server.call(version=1))
        server.release("2")
        assert await server.answered() == {2}
        await until(lambda: "1" in server.loading)
        health = await server.health()
        assert health[SERVICE] == health["models/digits"] == SERVING
        assert health[""] == NOT_SERVING
        assert await server.models() == {1: (LOADING, False), 2: (READY, True)}
        assert not old.done()
        server.release("1")
        await old
        await server.start
        assert (await server.health())[""] == SERVING
        assert await server.models() == {1: (READY, False), 2: (READY, True)}
        assert await server.answered() == {2}
        assert server.unavailable == 0


async def test_a_service_is_healthy_with_its_default_model_alone(tmp_path: Path) -> None:
    image_bundle(tmp_path, "circles", 1)
    image_bundle(tmp_path, "squares", 2)
    async with starting(tmp_path, default_models="image=squares") as server:
        server.release("1")
        await until(lambda: "2" in server.loading)
        health = await server.health()
        assert (health["models/circles"], health["models/squares"]) == (SERVING, NOT_SERVING)
        assert health[SERVICE] == health[""] == NOT_SERVING
        assert server.all_versions == []
        server.release("2")
        await server.start
        health = await server.health()
        assert health[SERVICE] == health["models/squares"] == health[""] == SERVING


async def test_while_it_runs_a_new_version_takes_over_in_one_step(tmp_path: Path) -> None:
    for version in (1, 2):
        image_bundle(tmp_path, "digits", version)
    async with starting(tmp_path) as server:
        server.release("1", "2")
        await server.start
        for version in (3, 4):
            image_bundle(tmp_path, "digits", version)
        scanning = await server.scan(until_loading="4")
        assert await server.answered() == {2}
        server.release("4")
        await until(lambda: "3" in server.loading)
        await server.settled()
        assert await server.answered() == {4}
        server.release("3")
        await scanning
        assert await server.answered() == {4}
        assert server.unavailable == 0


async def test_a_version_that_goes_as_another_comes_leaves_no_gap(tmp_path: Path) -> None:
    for version in (1, 2):
        image_bundle(tmp_path, "digits", version)
    async with starting(tmp_path) as server:
        server.release("1", "2")
        await server.start
        await server.settled()
        shutil.rmtree(tmp_path / "digits/2")
        image_bundle(tmp_path, "digits", 3)
        server.all_versions.clear()
        scanning = await server.scan(until_loading="3")
        assert await server.answered() == {2}
        server.release("3")
        await scanning
        await server.settled()
        assert await server.answered() == {3}
        assert set(server.all_versions) == {2, 3}
        assert server.unavailable == 0


async def test_a_refused_version_never_answers_and_the_next_does(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        folder = image_bundle(tmp_path, "digits", version)
    (folder / "graphs/generator.onnx").write_bytes(b"broken")
    async with starting(tmp_path) as server:
        server.release("1", "2")
        await until(lambda: server.loading)
        assert await server.models() == dict.fromkeys((1, 2, 3), (LOADING, False))
        server.release("3")
        await server.start
        assert await server.models() == {1: (READY, False), 2: (READY, True), 3: (REFUSED, False)}
        assert await server.answered() == {2}
        assert set(server.all_versions) == {2}


async def test_a_pinned_version_answers_from_the_first_call_on(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        image_bundle(tmp_path, "digits", version)
    async with starting(tmp_path, default_versions="digits=2") as server:
        server.release("1", "2", "3")
        await server.start
        image_bundle(tmp_path, "digits", 4)
        server.release("4")
        await server.server._repository.scan()
        await server.answered()
        assert set(server.all_versions) == {2}
        assert await server.models() == {version: (READY, version == 2) for version in (1, 2, 3, 4)}


async def test_a_pin_that_cannot_be_is_a_clear_error(tmp_path: Path) -> None:
    image_bundle(tmp_path, "digits")
    with pytest.raises(StartUpError, match=r"default_versions has version 2 of 'digits'; .* has 1"):
        await Server(build_settings({"models": tmp_path, "default_versions": "digits=2", **PORTS})).start()


async def test_a_call_that_waits_learns_why_before_its_deadline(tmp_path: Path) -> None:
    image_bundle(tmp_path, "digits")
    async with starting(tmp_path, callers=0) as server:
        await until(lambda: server.loading)
        for timeout_s in DEADLINES_S:
            try:
                await server.call(timeout_s)
            except aio.AioRpcError as error:  # where the machine is so busy that the refusal comes too late
                if error.code() is not StatusCode.DEADLINE_EXCEEDED:
                    raise
            else:
                break
        assert server.unavailable == 1
        await until(lambda: not server.waiting)


async def test_calls_that_wait_end_when_the_server_stops_in_its_start(tmp_path: Path) -> None:
    image_bundle(tmp_path, "digits")
    async with starting(tmp_path, callers=0, grace_s=600.0) as server:
        calls = [asyncio.create_task(server.call()) for _ in range(CALLERS)]
        await until(lambda: server.waiting == CALLERS)
        server.start.cancel()
        async with asyncio.timeout(WAIT_S):
            await server.server.wait()
            await asyncio.gather(*calls)
        assert server.unavailable == CALLERS


async def test_waiting_calls_leave_room_for_others(tmp_path: Path) -> None:
    image_bundle(tmp_path, "digits")
    async with starting(tmp_path, callers=5, max_concurrent_calls=6) as server:
        await until(lambda: server.waiting == 3 and server.unavailable > CALLERS)
        assert await server.models() == {1: (LOADING, False)}  # a call of the six, too
        server.release("1")
        assert await server.answered() == {1}
