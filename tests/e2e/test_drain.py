"""Server processes, and the signals that end them: nobody's call is lost, and nobody waits in vain."""

from __future__ import annotations

import asyncio
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc

from muserve.errors import QueueFullError
from muserve.v1 import image_pb2, image_pb2_grpc
from tests.bundles import image_bundle
from tests.server.calling import channel_to, failure_of, get_http
from tests.server.waiting import WAIT_S, until
from tests.servers import FRONTS, server_process

pytestmark = pytest.mark.fronts

NOT_SERVING = health_pb2.HealthCheckResponse.NOT_SERVING


def start(models: Path, *flags: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "muserve_server", "--models", str(models), "--http-port", "0", *flags]
    return subprocess.Popen(command, stderr=subprocess.PIPE, text=True)


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_under_load_fails_no_call(tmp_path: Path, number: signal.Signals, front: str) -> None:
    """Callers leave when health says NOT_SERVING, as balancers do; what they have sent by then is answered."""
    image_bundle(tmp_path)
    with server_process(tmp_path, "--drain-delay-s", "5", "--grace-s", "60", front=front) as server:
        async with channel_to(server.grpc_port) as channel:
            images = image_pb2_grpc.ImageServiceStub(channel)
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            leave = asyncio.Event()
            answered = 0

            async def call_on(worker: int) -> None:
                nonlocal answered
                count = 256 if worker < 2 else 1
                while not leave.is_set():
                    response = await images.GenerateImages(image_pb2.GenerateImagesRequest(count=count), timeout=200)
                    assert len(response.images) == count
                    answered += 1

            workers = [asyncio.create_task(call_on(worker)) for worker in range(12)]
            await until(lambda: answered > 50)
            server.process.send_signal(number)
            while (await watch.read()).status != NOT_SERVING:
                pass
            at_signal = answered
            await until(lambda: answered > at_signal + 20)  # it goes on serving
            leave.set()
            await asyncio.gather(*workers)
            code = await asyncio.to_thread(server.wait)
        assert code == 0


@pytest.mark.parametrize("front", FRONTS)
async def test_what_runs_when_the_drain_ends_is_finished(tmp_path: Path, front: str) -> None:
    """Calls that wait for a fuller batch at the moment of the signal, and no drain delay: all are answered."""
    image_bundle(tmp_path)
    flags = ("--drain-delay-s", "0", "--grace-s", "60", "--max-delay-ms", "3000")
    with server_process(tmp_path, *flags, front=front) as server:
        async with channel_to(server.grpc_port) as channel:
            images = image_pb2_grpc.ImageServiceStub(channel)
            calls = [images.GenerateImages(image_pb2.GenerateImagesRequest(count=7)) for _ in range(4)]
            tasks = [asyncio.ensure_future(call) for call in calls]
            await until_in_progress(server.http_port, len(calls))
            server.terminate()
            responses = await asyncio.gather(*tasks)
            assert [len(response.images) for response in responses] == [7] * 4
            assert await asyncio.to_thread(server.wait) == 0


async def until_in_progress(http_port: int, calls: int) -> None:
    async with asyncio.timeout(WAIT_S):
        text = ""
        while f"muserve_calls_in_progress {calls}.0" not in text:
            _, text = await asyncio.to_thread(get_http, http_port, "/metrics")


@pytest.mark.parametrize("front", FRONTS)
async def test_a_full_queue_is_answered_to_the_last_call(tmp_path: Path, front: str) -> None:
    """More calls than there is room for: those that are accepted are answered, the others told at once."""
    image_bundle(tmp_path)
    limits = ("--max-queue-rows", "8", "--max-samples-per-call", "8", "--max-series-per-call", "8")
    flags = (*limits, "--drain-delay-s", "0", "--grace-s", "60", "--max-delay-ms", "10000", "--max-batch-rows", "9")
    with server_process(tmp_path, *flags, front=front) as server:
        async with channel_to(server.grpc_port) as channel:
            images = image_pb2_grpc.ImageServiceStub(channel)
            calls = [images.GenerateImages(image_pb2.GenerateImagesRequest(count=2)) for _ in range(4)]
            tasks = [asyncio.ensure_future(call) for call in calls]
            await until_in_progress(server.http_port, len(calls))
            error = await failure_of(images.GenerateImages(image_pb2.GenerateImagesRequest(count=2)))
            assert isinstance(error, QueueFullError)
            server.terminate()
            assert [len(response.images) for response in await asyncio.gather(*tasks)] == [2] * 4
            assert await asyncio.to_thread(server.wait) == 0


@pytest.mark.parametrize("front", FRONTS)
async def test_a_second_signal_ends_it_at_once(tmp_path: Path, front: str) -> None:
    image_bundle(tmp_path)
    with server_process(tmp_path, "--drain-delay-s", "600", front=front) as server:
        async with channel_to(server.grpc_port) as channel:
            watch = health_pb2_grpc.HealthStub(channel).Watch(health_pb2.HealthCheckRequest())
            await watch.read()
            server.terminate()
            assert (await watch.read()).status == NOT_SERVING
            server.terminate()
            assert await asyncio.to_thread(server.wait) == 1


@pytest.mark.parametrize("front", FRONTS)
def test_a_signal_while_it_loads_ends_it_well(tmp_path: Path, front: str) -> None:
    for version in range(1, 200):
        image_bundle(tmp_path, version=version)
    with start(tmp_path, "--grpc-port", "0", "--front", front) as process:
        assert process.stderr is not None
        lines = iter(process.stderr)
        assert any('"model ready"' in line for line in lines)
        process.send_signal(signal.SIGTERM)
        rest = [json.loads(line)["message"] for line in lines]
        assert process.wait(200) == 0
    assert "serving" not in rest
    assert rest[-1] == "stopped"


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("setting", ["grpc-port", "http-port"])
def test_a_taken_port_names_its_setting(tmp_path: Path, setting: str, front: str) -> None:
    image_bundle(tmp_path)
    with server_process(tmp_path) as server:
        taken = server.grpc_port if setting == "grpc-port" else server.http_port
        flags = (
            ("--grpc-port", str(taken)) if setting == "grpc-port" else ("--grpc-port", "0", "--http-port", str(taken))
        )
        with start(tmp_path, *flags, "--front", front) as process:
            _, errors = process.communicate(timeout=200)
        assert process.returncode == 1
        assert f"--{setting}" in errors.splitlines()[-1]
        assert str(taken) in errors.splitlines()[-1]
        assert "Traceback" not in errors
        assert get_http(server.http_port, "/readyz")[0] == 200


@pytest.mark.parametrize(
    ("flags", "text"),
    [
        (
            ("--models", "/nowhere"),
            "models is /nowhere, which cannot be read (No such file or directory); set it to a folder of bundles, or "
            "install those that come with Muserve: pip install muserve-models",
        ),
        (("--grpc-port", "x"), "grpc_port is 'x'; it must be a whole number"),
        (("--device", "cuda"), "device is 'cuda', but this onnxruntime offers only"),
        (("--grpcport", "1"), "unknown argument '--grpcport'; did you mean '--grpc-port'?"),
    ],
)
@pytest.mark.parametrize("front", FRONTS)
def test_what_it_cannot_be_is_one_line_not_a_traceback(
    tmp_path: Path, flags: tuple[str, ...], text: str, front: str
) -> None:
    with start(tmp_path, "--grpc-port", "0", "--front", front, *flags) as process:
        _, errors = process.communicate(timeout=200)
    assert process.returncode != 0
    assert f"muserve-server: error: {text}" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize("front", FRONTS)
def test_a_start_logs_what_serves_and_what_was_refused(tmp_path: Path, front: str) -> None:
    image_bundle(tmp_path)
    (image_bundle(tmp_path, version=2) / "graphs/generator.onnx").unlink()
    with start(tmp_path, "--grpc-port", "0", "--drain-delay-s", "0", "--front", front) as process:
        assert process.stderr is not None
        records = []
        for line in process.stderr:
            records.append(json.loads(line))
            if records[-1]["message"] == "serving":
                process.terminate()
        assert process.wait(200) == 0
    by_message = {record["message"]: record for record in records}
    assert list(by_message) == ["starting", "bundle refused", "model ready", "serving", "stopped"]
    assert by_message["starting"]["muserve"]
    assert by_message["model ready"] | {"model": "shapes", "version": 1} == by_message["model ready"]
    refused = by_message["bundle refused"]
    assert (refused["level"], refused["model"], refused["version"]) == ("WARNING", "shapes", 2)
    assert "generator.onnx is missing" in refused["reason"]
    assert by_message["serving"]["grpc_port"] > 0
