"""Envoy's process beside the server's: where it cannot run, how either ends, and what others can see of it."""

from __future__ import annotations

import os
import signal
import socket
import stat
import subprocess
import sys
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest

from muserve_server.fronts.envoy.process import missing
from tests.bundles import image_bundle
from tests.server.waiting import until
from tests.servers import ServerProcess, server_process

needs_envoy = pytest.mark.skipif(bool(missing()), reason=missing())
GENERATE = "/muserve.v1.ImageService/GenerateImages"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    image_bundle(tmp_path / "models")
    return tmp_path / "models"


def envoy_of(server: ServerProcess) -> int:
    """The process id of a server's Envoy."""
    listed = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text()
    (child,) = map(int, listed.split())
    return child


def runs(process: int) -> bool:
    try:
        return "\nState:\tZ" not in Path(f"/proc/{process}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


@needs_envoy
async def test_the_servers_death_ends_envoy(models: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("t")
    with server_process(models, front="envoy", environ={"TMPDIR": str(folder)}) as server:
        envoy = envoy_of(server)
        server.process.kill()
        await until(lambda: not runs(envoy))
    assert not list(folder.iterdir())


@needs_envoy
@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM, signal.SIGSEGV])
def test_envoys_death_ends_the_server_with_the_reason(
    models: Path, tmp_path_factory: pytest.TempPathFactory, number: signal.Signals
) -> None:
    folder = tmp_path_factory.mktemp("t")
    with server_process(models, front="envoy", environ={"TMPDIR": str(folder)}) as server:
        os.kill(envoy_of(server), number)
        assert server.wait() == 1
    (line,) = (line for line in server.log if line.startswith("muserve-server: error:"))
    assert "Envoy ended by itself" in line
    assert not list(folder.iterdir())


@needs_envoy
def test_its_own_interface_is_for_its_user_alone(models: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("t")
    with server_process(models, front="envoy", environ={"TMPDIR": str(folder)}) as server:
        (own,) = folder.iterdir()
        assert stat.S_IMODE(own.stat().st_mode) == 0o700
        assert stat.S_IMODE((own / "admin.sock").stat().st_mode) == 0o600
        server.terminate()
        assert server.wait() == 0
    assert not list(folder.iterdir())


@pytest.fixture
def without_pyvoy(tmp_path: Path) -> dict[str, str]:
    """The environment of a Python that does not find pyvoy."""
    (tmp_path / "site").mkdir()
    (tmp_path / "site/sitecustomize.py").write_text("import sys\nsys.modules['pyvoy'] = None\n")
    return {"PYTHONPATH": os.pathsep.join([str(tmp_path / "site"), os.environ.get("PYTHONPATH", "")])}


def test_where_it_cannot_run_grpcio_serves_and_the_log_says_why(models: Path, without_pyvoy: dict[str, str]) -> None:
    with server_process(models, "--drain-delay-s", "0", environ=without_pyvoy) as server:
        assert any("pip install 'muserve-server[envoy]'" in line for line in server.log)
        server.terminate()
        assert server.wait() == 0


def test_where_it_cannot_run_and_must_the_reason_is_an_error(models: Path, without_pyvoy: dict[str, str]) -> None:
    command = [sys.executable, "-m", "muserve_server", "--models", str(models), "--front", "envoy"]
    done = subprocess.run(
        command, env={**os.environ, **without_pyvoy}, capture_output=True, text=True, timeout=200, check=False
    )
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("muserve-server: error: front is 'envoy', which cannot run here: ")
    assert "Traceback" not in done.stderr


@needs_envoy
@pytest.mark.parametrize("host", ["[::1", "no-such-host.invalid", "203.0.113.1", "unix:/tmp/muserve.sock"])
def test_a_host_that_is_none_is_named(models: Path, host: str) -> None:
    command = [sys.executable, "-m", "muserve_server", "--models", str(models), "--front", "envoy", "--host", host]
    done = subprocess.run(command, capture_output=True, text=True, timeout=200, check=False)
    assert done.returncode == 1
    assert f"host is {host!r}" in done.stderr.splitlines()[-1]


@needs_envoy
def test_an_address_may_be_written_as_in_a_url(models: Path) -> None:
    with (
        server_process(models, "--host", "[::1]", front="envoy") as server,
        closing(HTTPConnection("::1", server.grpc_port, timeout=60)) as connection,
    ):
        connection.request("GET", "/v1/models")
        assert connection.getresponse().status == 200


@needs_envoy
def test_what_a_caller_says_of_certificates_is_not_passed_on(models: Path) -> None:
    """Envoy would tell the application of a client's certificate by this header, and there is none."""
    with server_process(models, "--log-level", "debug", front="envoy") as server:
        with closing(HTTPConnection("127.0.0.1", server.grpc_port, timeout=60)) as connection:
            headers = {"content-type": "application/json", "x-forwarded-client-cert": "Subject=admin"}
            connection.request("POST", GENERATE, b"{}", headers)
            response = connection.getresponse()
            assert response.status == 200
            assert b"Subject=admin" not in response.read()
        server.terminate()
        assert server.wait() == 0
    assert not any("Subject=admin" in line for line in server.log)


@needs_envoy
def test_a_port_that_is_shared_takes_a_second_server(models: Path) -> None:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        probe.bind(("127.0.0.1", 0))
        flags = ("--reuse-port", "--grpc-port", str(probe.getsockname()[1]), "--drain-delay-s", "0")
        with server_process(models, *flags, front="envoy") as one, server_process(models, *flags, front="envoy") as two:
            assert one.grpc_port == two.grpc_port
            for server in (one, two):
                server.terminate()
                assert server.wait() == 0
