"""Servers that are started or ended as they should not be."""

from __future__ import annotations

import signal
import sys
import urllib.request
from pathlib import Path

import pytest

from muserve_server.fronts.envoy.process import missing
from tests.bundles import image_bundle
from tests.server.waiting import until
from tests.servers import ServerProcess, server_process

FRONTS = ("grpcio", "envoy")
needs_envoy = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
def models(tmp_path: Path) -> Path:
    image_bundle(tmp_path / "models")
    return tmp_path / "models"


def is_ready(server: ServerProcess) -> bool:
    with urllib.request.urlopen(f"http://127.0.0.1:{server.http_port}/readyz", timeout=60) as response:
        return bool(response.status == 200)


@pytest.mark.parametrize("front", FRONTS)
def test_a_closed_standard_input_does_no_harm(models: Path, tmp_path: Path, front: str) -> None:
    if front == "envoy" and missing():
        pytest.skip(missing())
    program = tmp_path / "closed"
    program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m muserve_server "$@" <&-\n')
    program.chmod(0o700)
    with server_process(models, "--front", front, program=program) as server:
        assert is_ready(server)
        server.terminate()
        assert server.wait() == 0


@needs_envoy
def test_a_long_path_for_temporary_files_does_no_harm(models: Path, tmp_path: Path) -> None:
    folder = tmp_path / ("long" * 25)
    folder.mkdir()
    with server_process(models, "--front", "envoy", environ={"TMPDIR": str(folder)}) as server:
        assert is_ready(server)
        server.terminate()
        assert server.wait() == 0


@needs_envoy
async def test_a_second_signal_leaves_no_files(models: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    folder = tmp_path_factory.mktemp("t")
    flags = ("--front", "envoy", "--drain-delay-s", "100")
    with server_process(models, *flags, environ={"TMPDIR": str(folder)}) as server:
        assert list(folder.iterdir())
        server.process.send_signal(signal.SIGTERM)
        await until(lambda: any('"draining"' in line for line in server.log))
        server.process.send_signal(signal.SIGTERM)
        assert server.wait() == 1
        assert not list(folder.iterdir())
