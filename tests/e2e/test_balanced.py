"""Two server processes behind one client: both serve, and one can be drained under load without a failed call."""

from __future__ import annotations

import asyncio
import re
import signal
import threading
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from muserve_client import AsyncClient, Client
from tests.bundles import image_bundle
from tests.servers import ServerProcess, server_process

WORKERS = 16
_COUNT = re.compile(r"^muserve_request_seconds_count\{[^}]*GenerateImages[^}]*\} ([0-9.e+]+)$", re.MULTILINE)

Pair = tuple[ServerProcess, ServerProcess]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Pair]:
    """Two replicas with the same model."""
    image_bundle(tmp_path)
    flags = ("--drain-delay-s", "5", "--grace-s", "60")
    with server_process(tmp_path, *flags) as one, server_process(tmp_path, *flags) as two:
        yield one, two


def target_of(servers: Pair) -> str:
    return "ipv4:" + ",".join(f"127.0.0.1:{server.grpc_port}" for server in servers)


def served_by(server: ServerProcess) -> int:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics", timeout=60) as answer:
        return int(sum(float(count) for count in _COUNT.findall(answer.read().decode())))


class Load:
    """Calls without pause, and counts."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client
        self._going = True
        self.answered = 0
        self.failures: list[Exception] = []
        self.pngs: set[bytes] = set()

    async def work(self) -> None:
        while self._going:
            try:
                images = await self._client.images(4, seed=1)
            except Exception as error:  # noqa: BLE001 - any failure counts
                self.failures.append(error)
            else:
                self.answered += 1
                self.pngs.add(b"".join(image.png for image in images))

    async def until(self, condition: Callable[[], object]) -> None:
        """Goes on until a condition holds; the test's own timeout ends a vain wait."""
        while not condition():  # noqa: ASYNC110 - what is waited for is counted in other tasks
            await asyncio.sleep(0.01)

    def stop(self) -> None:
        self._going = False


async def test_one_of_two_is_drained_under_load_and_no_call_fails(servers: Pair) -> None:
    staying, leaving = servers
    async with AsyncClient(target_of(servers)) as client:
        await client.wait_until_ready()
        load = Load(client)
        async with asyncio.TaskGroup() as tasks:
            for _ in range(WORKERS):
                tasks.create_task(load.work())
            try:
                while min([await asyncio.to_thread(served_by, server) for server in servers]) < 50:
                    pass
                leaving.terminate()
                exit_code = await asyncio.to_thread(leaving.wait)
                alone_from, answered = await asyncio.to_thread(served_by, staying), load.answered
                await load.until(lambda: load.answered >= answered + 200 or load.failures)
            finally:
                load.stop()
    assert exit_code == 0
    assert load.failures == []
    assert len(load.pngs) == 1  # both replicas gave the same bytes
    assert served_by(staying) >= alone_from + 150


async def test_a_draining_server_says_so_while_it_still_serves(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    with server_process(tmp_path, "--drain-delay-s", "3600") as server:
        async with AsyncClient(f"127.0.0.1:{server.grpc_port}") as client:
            await client.wait_until_ready()
            server.terminate()
            while await client.is_ready():
                pass
            assert await client.is_ready("shapes") is False
            assert len(await client.images(2)) == 2
            assert [model.name for model in await client.models()] == ["shapes"]
        server.process.send_signal(signal.SIGINT)  # a second signal does not wait
        assert await asyncio.to_thread(server.wait) == 1


def test_threads_share_both_servers(servers: Pair) -> None:
    failures: list[BaseException] = []
    with Client(target_of(servers)) as client:
        client.wait_until_ready()
        threads = [threading.Thread(target=_calls, args=(client, 25, failures)) for _ in range(8)]
        while min(served_by(server) for server in servers) == 0:
            client.images()
        before = [served_by(server) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failures == []
    gained = [served_by(server) - count for server, count in zip(servers, before, strict=True)]
    assert sum(gained) == 200
    assert min(gained) >= 90  # in turn: 100 each


def _calls(client: Client, count: int, failures: list[BaseException]) -> None:
    for _ in range(count):
        try:
            client.images()
        except BaseException as error:  # noqa: BLE001 - any failure counts
            failures.append(error)
