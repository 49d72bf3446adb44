"""Which replica a call goes to: a healthy one where there is one, and else any, for it may answer all the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NoReturn

import grpc
import pytest
from grpc_health.v1.health import HealthServicer
from grpc_health.v1.health_pb2 import HealthCheckResponse

from muserve.errors import ModelNotFoundError, UnavailableError, UnimplementedError
from muserve_client import AsyncClient, Client, Retries
from muserve_client.flows import Flow, Method, Rpc
from muserve_client.options import ClientOptions
from muserve_client.service_config import service_config
from tests.client.conftest import Served
from tests.client.fakes import FakeServer, Skin, both_skins, call, empty, fail, fake_server, healthy

CONTRACT = Path(__file__).parents[2] / "proto/muserve/v1/muserve_grpc_service_config.json"
IMAGES, FORECASTS = "muserve.v1.ImageService", "muserve.v1.ForecastService"
SERVING, NOT_SERVING = HealthCheckResponse.SERVING, HealthCheckResponse.NOT_SERVING
Replica = tuple[FakeServer, HealthServicer]


@pytest.fixture
def replicas() -> Iterator[tuple[Replica, Replica]]:
    """Two, of which only the first is healthy for images."""
    with ExitStack() as stack:
        healths = healthy(IMAGES, FORECASTS), healthy(FORECASTS)
        one, two = (
            (stack.enter_context(fake_server(lambda request, *_: empty(request), health=health)), health)
            for health in healths
        )
        yield one, two


def target_of(replicas: tuple[Replica, Replica]) -> str:
    return "ipv4:" + ",".join(server.target for server, _ in replicas)


@both_skins
def test_only_a_replica_on_which_the_service_is_healthy_is_called(
    skin: Skin, replicas: tuple[Replica, Replica]
) -> None:
    (one, _), (two, health) = replicas
    for _ in range(10):
        call(skin, target_of(replicas), "images")
    assert (one.calls, two.calls) == (10, 0)
    health.set(IMAGES, NOT_SERVING)
    for _ in range(10):
        call(skin, target_of(replicas), "images")
    assert (one.calls, two.calls) == (20, 0)
    while not two.calls:  # another service, another state
        call(skin, target_of(replicas), "forecast", [1, 2], 3)


def test_a_client_follows_changes_of_health(replicas: tuple[Replica, Replica]) -> None:
    (one, health_of_one), (two, health_of_two) = replicas
    with Client(target_of(replicas)) as client:
        client.images()
        health_of_two.set(IMAGES, SERVING)
        while not two.calls:
            client.images()
        health_of_one.set(IMAGES, NOT_SERVING)
        calls = -1
        while calls != one.calls:  # until ten in a row have gone to the other
            calls = one.calls
            for _ in range(10):
                client.images()


@both_skins
@pytest.mark.parametrize("status", [None, NOT_SERVING], ids=["unknown", "not serving"])
def test_where_no_replica_is_healthy_the_server_has_the_last_word(skin: Skin, status: Any) -> None:
    def answer(_request: Any, context: grpc.ServicerContext, _number: int) -> NoReturn:
        fail(context, ModelNotFoundError("no image model serves here"))

    health = healthy("")
    if status is not None:
        health.set(IMAGES, status)
    with fake_server(answer, health=health) as server:
        for retries in (Retries(), Retries(attempts=2), Retries(attempts=1)):
            with pytest.raises(ModelNotFoundError, match="no image model serves here"):
                call(skin, server.target, "images", client={"retries": retries})
        assert server.calls == 3
    with fake_server(lambda request, *_: empty(request), health=health) as server:
        assert len(call(skin, server.target, "images")) == 1
        assert call(skin, server.target, "models") == []


@both_skins
def test_a_task_without_a_model_is_the_servers_error(skin: Skin, served: Served) -> None:
    for retries in (Retries(), Retries(attempts=1)):
        with pytest.raises(ModelNotFoundError, match="no music model serves here") as caught:
            call(skin, served.target, "music", client={"retries": retries})
        assert caught.value.request_id


async def test_the_call_of_a_package_that_the_server_lacks(served: Served) -> None:
    echo = Method("/acme.echo.v1.EchoService/Echo", bytes, bytes)

    def flow() -> Flow[bytes]:
        return (yield Rpc(echo, b""))  # type: ignore[no-any-return]

    async with AsyncClient(served.target) as client:
        with pytest.raises(UnimplementedError, match="or the task's package is not installed there"):
            await client.run(flow())
    with Client(served.target) as sync_client, pytest.raises(UnimplementedError, match=served.target):
        sync_client.run(flow())


@both_skins
def test_a_service_that_the_server_does_not_have(skin: Skin) -> None:
    with fake_server(lambda *_: None, health=healthy("")) as server, pytest.raises(UnimplementedError) as caught:
        call(skin, server.target, "translate", b"\x89PNG\r\n\x1a\n")
    text = str(caught.value)
    assert server.target in text
    assert "older than this client, or the task's package is not installed there" in text
    assert server.calls == 0


@both_skins
def test_a_server_that_refuses_to_talk_about_health(skin: Skin) -> None:
    class Refuses(HealthServicer):  # type: ignore[misc]
        def Watch(self, request: Any, context: grpc.ServicerContext, *_: Any) -> Any:  # noqa: N802
            return context.abort(grpc.StatusCode.PERMISSION_DENIED, "not for you")

    with fake_server(lambda request, *_: empty(request), health=Refuses(experimental_non_blocking=False)) as server:
        assert len(call(skin, server.target, "images")) == 1


def test_all_services_share_a_connection(replicas: tuple[Replica, Replica]) -> None:
    (one, _), (two, _) = replicas
    with Client(target_of(replicas)) as client:
        while not (one.calls > 20 and two.calls > 20):
            client.images()
            client.forecast([1, 2], 3)
            client.models()
    assert (len(one.peers), len(two.peers)) == (1, 1)


def test_a_channel_is_opened_when_its_service_is_called(replicas: tuple[Replica, Replica]) -> None:
    client = Client(target_of(replicas))
    assert list(client._channels) == []
    client.images()
    assert list(client._channels) == [IMAGES, None]
    client.images()
    client.forecast([1, 2], 3)
    client.is_ready()
    assert list(client._channels) == [IMAGES, None, FORECASTS]
    channels = list(client._channels.values())
    client.close()
    for channel in channels:
        with pytest.raises(ValueError, match="closed"):
            channel.unary_unary("/x/y")(b"")


@both_skins
def test_a_service_config_of_the_users_own_replaces_health_checks(
    skin: Skin, replicas: tuple[Replica, Replica]
) -> None:
    _, (two, _) = replicas
    config = json.dumps({"loadBalancingConfig": [{"round_robin": {}}]})
    while not two.calls:  # which is not healthy
        call(skin, target_of(replicas), "images", client={"channel_options": [("grpc.service_config", config)]})


def test_after_unavailable_from_one_replica_another_is_called() -> None:
    def refuse(_request: Any, context: grpc.ServicerContext, _number: int) -> NoReturn:
        fail(context, UnavailableError("stopping"))

    with (
        fake_server(refuse, health=healthy(IMAGES)) as one,
        fake_server(lambda request, *_: empty(request), health=healthy(IMAGES)) as two,
        Client(
            f"ipv4:{one.target},{two.target}", retries=Retries(max_backoff_s=0.01, initial_backoff_s=0.01)
        ) as client,
    ):
        while not (one.calls and two.calls):  # a new client may find one before the other
            client.images()
        refused = one.calls
        for _ in range(20):
            calls = one.calls
            client.images()
            assert one.calls <= calls + 1
    assert one.calls > refused


def test_the_service_config_is_the_contracts() -> None:
    contract = json.loads(CONTRACT.read_text(encoding="utf-8"))
    (method,) = contract.pop("methodConfig")
    assert json.loads(service_config("acme.v1.Echo")) == contract | {
        "healthCheckConfig": {"serviceName": "acme.v1.Echo"}
    }
    del contract["healthCheckConfig"]
    assert json.loads(service_config(None)) == contract == {"loadBalancingConfig": [{"round_robin": {}}]}
    policy, retries = method["retryPolicy"], Retries()
    assert method["name"] == [{}]
    assert policy == {
        "maxAttempts": retries.attempts,
        "initialBackoff": f"{retries.initial_backoff_s}s",
        "maxBackoff": f"{retries.max_backoff_s:g}s",
        "backoffMultiplier": retries.multiplier,
        "retryableStatusCodes": ["UNAVAILABLE", "CANCELLED"],
    }


def test_channel_arguments_name_the_service() -> None:
    options = ClientOptions.of(
        "localhost", timeout_s=1, retries=Retries(), tls=False, credentials=None, metadata=(), max_message_mib=1,
        channel_options=(),
    )  # fmt: skip
    found = dict(options.channel_arguments(IMAGES))
    assert json.loads(found["grpc.service_config"])["healthCheckConfig"] == {"serviceName": IMAGES}
