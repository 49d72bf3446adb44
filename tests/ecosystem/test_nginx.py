"""deploy/nginx.conf as it stands, in front of two real servers; only addresses and ports are this test's own."""

from __future__ import annotations

import re
import shutil
import signal
import socket
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from muserve.errors import UnavailableError
from muserve_client import Client, Retries
from muserve_server.fronts.envoy.process import missing
from tests.bundles import image_bundle
from tests.servers import ServerProcess, server_process, unassigned_port

CONFIGURATION = Path(__file__).parents[2] / "deploy/nginx.conf"
CALLS = 40
FRONTS = [
    "grpcio",
    pytest.param("envoy", marks=pytest.mark.skipif(bool(missing()), reason=missing())),
]


@dataclass(frozen=True)
class Balanced:
    """Two servers and nginx in front of them."""

    servers: tuple[ServerProcess, ...]
    address: str
    """Where nginx listens."""
    client: Client
    """Calls nginx over one connection and never tries again by itself."""


@pytest.fixture(params=FRONTS)
def balanced(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Balanced]:
    assert shutil.which("nginx"), "nginx is not installed; make test-ecosystem installs it on Debian"
    image_bundle(tmp_path / "models")
    with ExitStack() as stack:
        # Connections that end all the time: nginx must move calls over without an error.
        flags = ("--front", request.param, "--max-connection-age-s", "0.2", "--drain-delay-s", "0")
        servers = tuple(stack.enter_context(server_process(tmp_path / "models", *flags)) for _ in range(2))
        port = unassigned_port()
        configuration = tmp_path / "nginx.conf"
        configuration.write_text(adapted(port, [server.grpc_port for server in servers], tmp_path))
        nginx = subprocess.Popen(["nginx", "-c", str(configuration), "-g", "daemon off;"])
        stack.callback(end, nginx)
        wait_until(lambda: accepts(port), nginx)
        address = f"127.0.0.1:{port}"
        client = Client(address, timeout_s=100, retries=Retries(attempts=1))
        yield Balanced(servers, address, stack.enter_context(client))


def test_calls_of_one_connection_are_spread_over_the_replicas(balanced: Balanced) -> None:
    for seed in range(CALLS):
        balanced.client.images(seed=seed)
    answered = [calls_answered(server) for server in balanced.servers]
    assert sum(answered) == CALLS
    assert min(answered) >= CALLS // 4


def test_no_call_is_lost_when_connections_age(balanced: Balanced) -> None:
    end_at = time.monotonic() + 2  # ten times the age
    seed = 0
    while time.monotonic() < end_at or seed < CALLS:
        balanced.client.images(seed=seed)
        seed += 1


@pytest.mark.parametrize("balanced", ["grpcio"], indirect=True)
def test_a_replica_that_goes_is_passed_over(balanced: Balanced) -> None:
    first, second = balanced.servers
    first.terminate()
    for seed in range(CALLS):  # while it stops, and after
        balanced.client.images(seed=seed)
    assert first.wait() == 0
    balanced.client.images(seed=CALLS)
    assert calls_answered(second) >= CALLS // 2


def test_a_replica_that_goes_fails_no_call_that_is_tried_again(balanced: Balanced) -> None:
    """Behind Envoy it refuses in so many words, which nginx hands on, and the SDK tries again."""
    first, second = balanced.servers
    with Client(balanced.address, timeout_s=100) as client:
        first.terminate()
        for seed in range(CALLS):
            client.images(seed=seed)
        assert first.wait() == 0
        client.images(seed=CALLS)
    assert calls_answered(second) >= CALLS // 2


def test_without_a_replica_callers_get_unavailable(balanced: Balanced) -> None:
    for server in balanced.servers:
        server.terminate()
    assert [server.wait() for server in balanced.servers] == [0, 0]
    with pytest.raises(UnavailableError, match="no server can be reached"):
        balanced.client.images()


def adapted(port: int, replicas: list[int], folder: Path) -> str:
    """The published configuration with this test's ports, and with files in this test's folder."""
    text = CONFIGURATION.read_text(encoding="utf-8")
    ports = iter(replicas)
    text, count = re.subn(r"server 10\.0\.0\.\d:8001", lambda _: f"server 127.0.0.1:{next(ports)}", text)
    assert count == len(replicas)
    assert text.count("listen 8080 http2;") == 1
    text = text.replace("listen 8080 http2;", f"listen 127.0.0.1:{port} http2;")
    files = f"pid {folder}/nginx.pid; error_log {folder}/error.log;\n"
    paths = "".join(
        f"{kind}_temp_path {folder}/{kind};" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    return files + text.replace("http {", f"http {{ access_log off; {paths}", 1)


def calls_answered(server: ServerProcess) -> int:
    """The calls that a replica has finished well, from its metrics."""
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/metrics", timeout=60) as answer:
        metrics = answer.read().decode()
    counts = re.findall(r'^muserve_request_seconds_count\{[^}]*code="OK"[^}]*\} (\S+)$', metrics, re.MULTILINE)
    return int(sum(map(float, counts)))


def accepts(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


def wait_until(condition: Callable[[], bool], process: subprocess.Popen[bytes], timeout_s: float = 200) -> None:
    end_at = time.monotonic() + timeout_s
    while not condition():
        assert process.poll() is None, "nginx ended"
        assert time.monotonic() < end_at, f"not so after {timeout_s} s"
        time.sleep(0.02)


def end(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGTERM)
    process.wait(200)
