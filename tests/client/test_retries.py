"""What is tried again, how often, and when: against a real server that fails first."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from muserve.errors import (
    ERRORS,
    FieldViolation,
    InvalidRequestError,
    MuserveError,
    QueueFullError,
    UnavailableError,
)
from muserve_client import Client, ConfigurationError, Retries
from muserve_client.attempts import Attempts
from muserve_client.options import ClientOptions
from tests.client.fakes import Skin, both_skins, call, fail, fake_server, one_image

QUICK = {"retries": Retries(attempts=4, initial_backoff_s=0.01)}


def failing(error: MuserveError, times: int) -> Any:
    def answer(_request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number <= times:
            fail(context, error)
        return one_image()

    return answer


@both_skins
@pytest.mark.parametrize("error", [UnavailableError("loading"), QueueFullError("full", retry_after_s=0.01)])
def test_what_passes_is_tried_again_until_it_has_passed(skin: Skin, error: MuserveError) -> None:
    with fake_server(failing(error, 3)) as server:
        assert call(skin, server.target, "images", client=QUICK)[0].png == b"png"
    assert server.calls == 4
    assert len({metadata["x-request-id"] for metadata in server.metadata}) == 1


@both_skins
def test_a_bare_unavailable_is_tried_again_and_only_by_us(skin: Skin) -> None:
    def answer(_request: Any, context: grpc.ServicerContext, _number: int) -> Any:
        context.abort(grpc.StatusCode.UNAVAILABLE, "from a proxy")

    with fake_server(answer) as server, pytest.raises(UnavailableError, match="from a proxy"):
        call(skin, server.target, "images", client=QUICK)
    assert server.calls == 4


@both_skins
def test_a_call_that_a_stopping_server_dropped_is_tried_again(skin: Skin) -> None:
    def answer(_request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number == 1:
            context.abort(grpc.StatusCode.CANCELLED, "CANCELLED")
        return one_image()

    with fake_server(answer) as server:
        assert call(skin, server.target, "images", client=QUICK)[0].png == b"png"
        assert server.calls == 2
        server.metadata.clear()
        with pytest.raises(UnavailableError, match="dropped the call"):
            call(skin, server.target, "images", client={"retries": Retries(attempts=1)})


@both_skins
def test_the_last_failure_is_told_when_the_attempts_are_used_up(skin: Skin) -> None:
    with fake_server(failing(UnavailableError("loading"), 99)) as server:
        with pytest.raises(UnavailableError, match=r"^loading$"):
            call(skin, server.target, "images", client=QUICK)
        assert server.calls == 4
        with pytest.raises(UnavailableError):
            call(skin, server.target, "images", client={"retries": Retries(attempts=1)})
    assert server.calls == 5


@both_skins
@pytest.mark.parametrize(
    "kind", [kind for kind in ERRORS if kind not in (UnavailableError, QueueFullError)], ids=lambda kind: kind.__name__
)
def test_nothing_else_is_tried_again(skin: Skin, kind: type[MuserveError]) -> None:
    error = (
        InvalidRequestError(violations=[FieldViolation("seed", "is wrong")])
        if kind is InvalidRequestError
        else kind("failed")
    )
    with fake_server(failing(error, 99)) as server, pytest.raises(kind):
        call(skin, server.target, "images", client=QUICK)
    assert server.calls == 1


@both_skins
def test_a_full_queue_is_left_alone_as_long_as_it_asks(skin: Skin) -> None:
    arrivals: list[float] = []

    def answer(_request: Any, context: grpc.ServicerContext, number: int) -> Any:
        arrivals.append(time.monotonic())
        if number == 1:
            fail(context, QueueFullError("full", retry_after_s=0.4))
        return one_image()

    with fake_server(answer) as server:
        call(skin, server.target, "images", client=QUICK)
    assert arrivals[1] - arrivals[0] >= 0.4


@both_skins
def test_the_timeout_covers_all_attempts(skin: Skin) -> None:
    with fake_server(failing(QueueFullError("full", retry_after_s=300), 99)) as server:
        started = time.monotonic()
        with pytest.raises(QueueFullError) as caught:
            call(skin, server.target, "images", timeout_s=60)
        assert time.monotonic() - started < 60  # waiting could not have helped
    assert caught.value.retry_after_s == 300
    assert server.calls == 1


@both_skins
def test_every_attempt_has_what_is_left_of_the_timeout(skin: Skin) -> None:
    with fake_server(failing(QueueFullError("full", retry_after_s=0.3), 2)) as server:
        call(skin, server.target, "images", timeout_s=10, client=QUICK)
    first, second, third = (seconds or 0.0 for seconds in server.remaining_s)
    assert 11 > first > second + 0.2
    assert second > third + 0.2


@both_skins
def test_health_is_asked_once(skin: Skin) -> None:
    asked: list[str] = []

    class Unavailable(grpc.GenericRpcHandler):  # type: ignore[misc]
        def service(self, details: grpc.HandlerCallDetails) -> grpc.RpcMethodHandler:
            asked.append(details.method)
            return grpc.unary_unary_rpc_method_handler(
                lambda _request, context: context.abort(grpc.StatusCode.UNAVAILABLE, "loading")
            )

    with ThreadPoolExecutor(1) as threads:
        server = grpc.server(threads, handlers=[Unavailable()])
        port = server.add_insecure_port("127.0.0.1:0")
        server.start()
        try:
            assert call(skin, f"127.0.0.1:{port}", "is_ready", client=QUICK) is False
        finally:
            server.stop(None).wait()
    assert asked == ["/grpc.health.v1.Health/Check"]


def attempts(retries: Retries, *, timeout_s: float, now: list[float], fraction: float = 0.0) -> Attempts:
    options = ClientOptions.of(
        "localhost", timeout_s=timeout_s, retries=retries, tls=False, credentials=None, metadata=(), max_message_mib=1,
        channel_options=(),
    )  # fmt: skip
    return Attempts(options, timeout_s=None, request_id=None, clock=lambda: now[0], fraction=lambda: fraction)


def test_waits_grow_up_to_their_cap_and_are_jittered_down_to_a_half() -> None:
    retries = Retries(attempts=9, initial_backoff_s=1, max_backoff_s=5, multiplier=2)
    for fraction, factor in ((0.0, 1.0), (0.5, 0.75), (1.0, 0.5)):
        tried = attempts(retries, timeout_s=1000, now=[0.0], fraction=fraction)
        waits = [tried.pause_s(UnavailableError("x")) for _ in range(9)]
        assert waits == [*(factor * wait for wait in (1, 2, 4, 5, 5, 5, 5, 5)), None]
    assert retries.backoff_s(10**6, 0.0) == 5


def test_a_wait_that_would_end_after_the_deadline_is_not_begun() -> None:
    now = [100.0]
    tried = attempts(Retries(initial_backoff_s=1, max_backoff_s=1), timeout_s=10, now=now)
    now[0] = 108.9
    assert tried.pause_s(UnavailableError("x")) == 1
    now[0] = 109.0
    assert tried.pause_s(UnavailableError("x")) is None
    now[0] = 200.0
    assert tried.remaining_s() == 0


def test_clients_do_not_come_back_at_the_same_time() -> None:
    def waits() -> list[float | None]:
        client = Client()
        tried = Attempts(client._options, timeout_s=None, request_id=None)
        return [tried.pause_s(QueueFullError("x", retry_after_s=1)) for _ in range(4)]

    assert waits() != waits()


@pytest.mark.parametrize(
    "wrong",
    [
        {"attempts": 0},
        {"initial_backoff_s": -1},
        {"initial_backoff_s": 6, "max_backoff_s": 5},
        {"max_backoff_s": float("inf")},
        {"multiplier": 0.5},
        {"multiplier": float("nan")},
    ],
)
def test_retries_are_checked(wrong: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError, match="retries"):
        Retries(**wrong)
