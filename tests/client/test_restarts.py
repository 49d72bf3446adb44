"""How long a call is tried: until its timeout where a server comes back, `attempts` times where there may be none."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import grpc
import pytest

from muserve.errors import CancelledCallError, MuserveError, QueueFullError, UnavailableError, to_status
from muserve_client import AsyncClient, Client, Retries
from muserve_client.async_connection import AsyncConnection
from muserve_client.attempts import Attempts
from muserve_client.connection import Connection
from muserve_client.options import ClientOptions
from tests.client.fakes import Skin, both_skins, call, fail, fake_server, one_image
from tests.server.waiting import WAIT_S, until
from tests.servers import unassigned_port

RETRIES = Retries(attempts=2, initial_backoff_s=0.01, max_backoff_s=0.02)
OPTIONS = ClientOptions.of(
    "localhost", timeout_s=100, retries=Retries(attempts=4, initial_backoff_s=1, max_backoff_s=8), tls=False,
    credentials=None, metadata=(), max_message_mib=1, channel_options=(),
)  # fmt: skip


@pytest.fixture
def pauses(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The waits between attempts of all clients, as they begin."""
    begun: list[float] = []
    for kind in (Connection, AsyncConnection):
        pause: Any = kind._pause

        def count(self: Any, seconds: float, pause: Any = pause) -> Any:
            begun.append(seconds)
            return pause(self, seconds)

        monkeypatch.setattr(kind, "_pause", count)
    return begun


def test_a_call_outlasts_a_restart(pauses: list[float]) -> None:
    address = f"127.0.0.1:{unassigned_port()}"
    with ThreadPoolExecutor(1) as threads, Client(address, timeout_s=WAIT_S, retries=RETRIES) as client:
        with fake_server(lambda *_: one_image(), address=address):
            client.images()
        waiting = threads.submit(client.images)
        while len(pauses) < 10:
            assert not waiting.done()
        with fake_server(lambda *_: one_image(b"again"), address=address):
            assert waiting.result()[0].png == b"again"


async def test_an_async_call_outlasts_a_restart(pauses: list[float]) -> None:
    address = f"127.0.0.1:{unassigned_port()}"
    async with AsyncClient(address, timeout_s=WAIT_S, retries=RETRIES) as client:
        with fake_server(lambda *_: one_image(), address=address):
            await client.images()
        waiting = asyncio.create_task(client.images())
        await until(lambda: len(pauses) >= 10)
        assert not waiting.done()
        with fake_server(lambda *_: one_image(b"again"), address=address):
            assert (await waiting)[0].png == b"again"


def test_closing_ends_the_wait_for_a_server_that_is_gone(pauses: list[float]) -> None:
    with fake_server(lambda *_: one_image()) as server, ThreadPoolExecutor(1) as threads:
        client = Client(server.target, timeout_s=2 * WAIT_S, retries=Retries(max_backoff_s=WAIT_S, multiplier=1e3))
        client.images()
    with ThreadPoolExecutor(1) as threads:
        waiting = threads.submit(client.images)
        while not any(seconds > 1 for seconds in pauses):
            assert not waiting.done()
        client.close()
        with pytest.raises(CancelledCallError, match="closed"):
            waiting.result(WAIT_S)


async def test_closing_ends_an_async_wait_for_a_server_that_is_gone(pauses: list[float]) -> None:
    retries = Retries(max_backoff_s=1e6, multiplier=1e6)
    with fake_server(lambda *_: one_image()) as server:
        client = AsyncClient(server.target, timeout_s=1e9, retries=retries)
        await client.images()
    waiting = asyncio.create_task(client.images())
    await until(lambda: any(seconds > 1000 for seconds in pauses))
    await client.close()
    with pytest.raises(CancelledCallError, match="closed"):
        await waiting


@both_skins
def test_a_server_that_has_never_answered_is_given_up_after_the_attempts(skin: Skin, pauses: list[float]) -> None:
    with pytest.raises(UnavailableError, match=r"127\.0\.0\.1:1 does not answer"):
        call(skin, "127.0.0.1:1", "images", client={"timeout_s": 1e6, "retries": RETRIES})
    assert pauses == [0.0]


@both_skins
def test_a_server_that_says_when_to_come_back_is_waited_for(skin: Skin, pauses: list[float]) -> None:
    def answer(_request: Any, context: grpc.ServicerContext, number: int) -> Any:
        if number < 10:
            fail(context, UnavailableError("loading", retry_after_s=0.03))
        return one_image()

    with fake_server(answer) as server:
        call(skin, server.target, "images", client={"retries": RETRIES})
    assert len(pauses) == 9
    assert all(0.03 <= seconds <= 0.05 for seconds in pauses)


class Bare(grpc.RpcError):  # type: ignore[misc]
    """A failure as gRPC raises it; by gRPC itself, if there are no details."""

    def __init__(self, error: MuserveError | None = None) -> None:
        self._error = error

    def code(self) -> grpc.StatusCode:
        return self._error.code if self._error else grpc.StatusCode.UNAVAILABLE

    def details(self) -> str:
        return "said"

    def trailing_metadata(self) -> Any:
        return (("grpc-status-details-bin", to_status(self._error).SerializeToString()),) if self._error else ()


def attempts(*, reached: bool = False, max_attempts: int = 4) -> Attempts:
    made = Attempts(
        OPTIONS, timeout_s=None, request_id=None, max_attempts=max_attempts, clock=lambda: 0, fraction=lambda: 0
    )
    if reached:
        made.succeeded()
    return made


def run(tried: Attempts, *failures: Bare) -> list[tuple[bool, float | None]]:
    """Of each attempt, whether it checked health, and the wait after it."""
    return [(tried.checks_health, tried.pause_s(tried.translate(failure))) for failure in failures]


def test_an_attempt_that_grpc_failed_is_followed_at_once_by_one_without_health_checks() -> None:
    assert run(attempts(), Bare(), Bare(), Bare(), Bare()) == [(True, 0), (False, 2), (True, 0), (False, None)]
    assert run(attempts(max_attempts=3), Bare(), Bare(), Bare()) == [(True, 0), (False, 2), (False, None)]
    assert run(attempts(max_attempts=1), Bare()) == [(False, None)]


def test_an_attempt_that_the_server_failed_is_followed_by_one_with_health_checks() -> None:
    full = Bare(QueueFullError("full", retry_after_s=3))
    assert run(attempts(), full, full, full, full) == [(True, 4), (True, 5), (True, 7), (False, None)]


def test_once_the_server_was_reached_unavailable_is_not_counted() -> None:
    waits = run(attempts(reached=True), *[Bare()] * 10)
    assert waits == [(True, 0), (False, 2), (True, 0), (False, 8)] + 3 * [(True, 0), (False, 8)]
    assert run(attempts(reached=True, max_attempts=1), Bare()) == [(False, None)]
    refusing = Bare(UnavailableError("stops"))
    assert None not in dict(run(attempts(reached=True), *[refusing] * 10)).values()


def test_what_a_server_says_of_itself_counts_as_reached_if_it_comes_back() -> None:
    loading, stopping = Bare(UnavailableError("loading", retry_after_s=5)), Bare(UnavailableError("stopping"))
    assert run(attempts(), *[loading] * 9) == [(True, 6)] * 9
    assert run(attempts(), *[stopping] * 4) == [(True, 1), (True, 2), (True, 4), (False, None)]


def test_a_full_queue_is_counted_even_after_a_restart() -> None:
    full = Bare(QueueFullError("full"))
    waits = run(attempts(reached=True), *[Bare()] * 6, full, full, full, full)
    assert [wait for _, wait in waits[6:]] == [8, 8, 8, None]


def test_a_wait_that_is_longer_than_the_timeout_is_not_begun() -> None:
    assert run(attempts(), Bare(UnavailableError("loading", retry_after_s=99))) == [(True, None)]


def test_the_calls_of_a_client_share_what_they_know_of_the_server() -> None:
    with fake_server(lambda *_: one_image()) as server, Client(server.target) as client:
        assert not client._reached.is_set()
        client.images()
        assert client._reached.is_set()
