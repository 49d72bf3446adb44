"""The released SDK, server, bundles and command line work with today's, and give the same bytes and errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import grpc
import pytest

from muserve.bundle import read_bundle
from muserve.v1 import answer_pb2, forecast_pb2, image_pb2, music_pb2
from muserve_client import Client
from muserve_server.settings import read_settings
from tests.servers import ServerProcess, server_process
from tests.upgrade.released import REPOSITORY, released

OLD, NEW = "released", "today's"
PAIRS = [(OLD, NEW), (NEW, OLD), (NEW, NEW)]
"""SDK and server. The reference is the released SDK with the released server."""
CHILD_TIMEOUT_S = 110

pytestmark = pytest.mark.timeout(300)


def environment(version: str) -> dict[str, str]:
    """What makes a child process import one version or the other."""
    return {"PYTHONPATH": str(released())} if version == OLD else {}


def run(version: str, *arguments: object, cwd: Path | None = None) -> str:
    """Runs Python with one version, and returns what it prints."""
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **environment(version)}, cwd=cwd, capture_output=True, text=True,
        timeout=CHILD_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def servers() -> Iterator[dict[str, ServerProcess]]:
    """Both servers, on the released bundles."""
    models = released() / "muserve_server/models"
    with ExitStack() as stack:
        yield {
            version: stack.enter_context(server_process(models, environ=environment(version))) for version in (OLD, NEW)
        }


@pytest.fixture(scope="module")
def drive(servers: dict[str, ServerProcess]) -> Any:
    """Makes every call with one SDK on one server, once."""
    return cache(
        lambda sdk, server: json.loads(run(sdk, Path(__file__).with_name("driver.py"), target(servers[server])))
    )


def target(server: ServerProcess) -> str:
    return f"localhost:{server.grpc_port}"


def test_the_versions_are_what_they_are_called(servers: dict[str, ServerProcess]) -> None:
    script = "import muserve_client, muserve_server, muserve; print(muserve_client.__file__, muserve_server.__file__)"
    assert run(OLD, "-c", script).count(str(released())) == 2
    assert str(released()) not in run(NEW, "-c", script)
    assert servers[OLD].grpc_port != servers[NEW].grpc_port


@pytest.mark.parametrize(("sdk", "server"), PAIRS)
def test_every_answer_is_the_same(sdk: str, server: str, drive: Any) -> None:
    reference, found = drive(OLD, OLD)["answers"], drive(sdk, server)["answers"]
    assert set(found) == set(reference)
    for name, answer in reference.items():
        assert found[name] == answer, name


@pytest.mark.parametrize(("sdk", "server"), PAIRS)
def test_every_refusal_has_the_same_class_code_reason_and_fields(sdk: str, server: str, drive: Any) -> None:
    reference, found = drive(OLD, OLD)["refusals"], drive(sdk, server)["refusals"]
    assert "answered" not in reference.values()
    assert found == reference


def test_released_bundles_are_those_of_this_tree_and_keep_their_digests(drive: Any) -> None:
    old, new = released() / "muserve_server/models", REPOSITORY / "models"
    bundles = [path.parent.relative_to(old) for path in old.glob("*/*/manifest.json")]
    assert len(bundles) >= 8
    digests = {str(bundle): read_bundle(old / bundle).digest for bundle in bundles}
    assert digests == {str(bundle): read_bundle(new / bundle).digest for bundle in bundles}
    listed, *_ = drive(NEW, NEW)["answers"]["models"]
    assert {f"{name}/{version}": digest for name, version, _, _, digest, _ in listed} == digests
    assert {state for _, _, _, state, _, _ in listed} == {"ready"}


WIRE: dict[str, tuple[Any, Any]] = {
    "/muserve.v1.ImageService/GenerateImages": (
        image_pb2.GenerateImagesRequest(count=3, seed=10), image_pb2.GenerateImagesResponse,
    ),
    "/muserve.v1.MusicService/GenerateMusic": (
        music_pb2.GenerateMusicRequest(style="salsa", bars=2, seed=3), music_pb2.GenerateMusicResponse,
    ),
    "/muserve.v1.ForecastService/Forecast": (
        forecast_pb2.ForecastRequest(
            series=[forecast_pb2.TimeSeries(id="a", values=[3, 4, 5, 4, 3, 4, 5, 4])], horizon=3,
            frequency=forecast_pb2.FREQUENCY_QUARTERLY, quantiles=[0.2],
        ),
        forecast_pb2.ForecastResponse,
    ),
    "/muserve.v1.AnswerService/AnswerQuestion": (
        answer_pb2.AnswerQuestionRequest(question="What is a GAN?", seed=2), answer_pb2.AnswerQuestionResponse,
    ),
}  # fmt: skip


@pytest.mark.parametrize("method", WIRE)
def test_bytes_on_the_wire_are_the_same(method: str, servers: dict[str, ServerProcess]) -> None:
    request, kind = WIRE[method]
    found = {}
    for version, server in servers.items():
        with grpc.insecure_channel(target(server)) as channel:
            response = kind.FromString(channel.unary_unary(method)(request.SerializeToString(), timeout=200))
        assert response.info.digest
        for field in ("timings", "request_id", "server_version"):
            response.info.ClearField(field)
        found[version] = response.SerializeToString(deterministic=True)
    assert found[OLD] == found[NEW]


COMMANDS: dict[str, list[object]] = {
    "models": ["models"],
    "images": ["images", "--count", "4", "--seed", "5", "--out", "sheet.png"],
    "forecast": ["forecast", "series.csv", "--horizon", "4", "--frequency", "quarterly", "--out", "forecast.csv"],
    "music": ["music", "--style", "samba", "--bars", "2", "--seed", "3", "--out", "song.mid"],
    "accompany": ["accompany", "song.mid", "--tracks", "drums", "--seed", "4", "--out", "band.mid"],
    "translate": ["translate", REPOSITORY / "clients/examples/satellite.jpg", "--to", "map", "--out", "map.png"],
    "ask": ["ask", "What is gRPC?", "--seed", "1", "--json"],
    "questions": ["questions", "text.txt", "--count", "2", "--seed", "1", "--json"],
    "verify": ["verify", "--model", "digits", "--rounds", "1"],
}


@pytest.mark.parametrize(("cli", "server"), [(OLD, NEW), (NEW, OLD)])
def test_every_command_works(cli: str, server: str, servers: dict[str, ServerProcess], tmp_path: Path) -> None:
    files: dict[str, dict[str, bytes]] = {}
    for version, running in ((OLD, OLD), (cli, server)):
        folder = tmp_path / f"{version}-{running}"
        folder.mkdir()
        (folder / "series.csv").write_text("\n".join(map(str, [3, 4, 5, 4, 3, 4, 5, 4, 3, 4, 5, 4])))
        (folder / "text.txt").write_text("A lantern is a portable lamp. It was invented by Ann Lee in 1820.")
        for arguments in COMMANDS.values():
            run(version, "-m", "muserve_client", *arguments, "--server", target(servers[running]), cwd=folder)
        files[f"{version}-{running}"] = {path.name: path.read_bytes() for path in folder.iterdir()}
    reference, found = files.values()
    assert {"sheet.png", "forecast.csv", "song.mid", "band.mid", "map.png"} <= set(reference)
    assert found == reference


@pytest.mark.parametrize("sdk", [OLD, NEW])
def test_a_replica_after_the_other_is_upgraded_and_the_bytes_stay(sdk: str, tmp_path: Path) -> None:
    models = tmp_path / "models" / "digits"
    models.mkdir(parents=True)
    (models / "2").symlink_to(REPOSITORY / "models/digits/2")
    caller = Path(__file__).with_name("caller.py")
    with ExitStack() as stack:

        def start(version: str, *flags: str) -> ServerProcess:
            quick = ("--drain-delay-s", "0.5", *flags)
            return stack.enter_context(server_process(models.parent, *quick, environ=environment(version)))

        replicas = [start(OLD), start(OLD)]
        ports = [replica.grpc_port for replica in replicas]
        addresses = ",".join(f"127.0.0.1:{port}" for port in ports)
        command = [sys.executable, str(caller), f"ipv4:{addresses}"]
        calls = subprocess.Popen(
            command, env={**os.environ, **environment(sdk)}, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        stack.callback(calls.kill)
        assert calls.stdout is not None
        assert calls.stdout.readline() == "called\n"
        for replica, port in zip(replicas, ports, strict=True):
            replica.terminate()
            assert replica.wait() == 0
            start(NEW, "--grpc-port", str(port))
            with Client(f"127.0.0.1:{port}") as client:
                client.wait_until_ready(timeout_s=60)
        out, _ = calls.communicate("enough\n", timeout=200)
        found = json.loads(out)
    assert found["calls"] > 2
    assert found["errors"] == []
    assert len(found["media"]) == 1, "another version gave other bytes"


def test_every_setting_of_the_released_server_is_still_one(tmp_path: Path) -> None:
    script = (
        "import dataclasses, json\n"
        "from muserve.configuration import describe_value\n"
        "from muserve_server.settings import Settings\n"
        "print(json.dumps({field.name: describe_value(field.default) for field in dataclasses.fields(Settings)}))\n"
    )
    defaults = json.loads(run(OLD, "-c", script))
    assert len(defaults) >= 30
    for name, value in defaults.items():
        flag = "--" + name.replace("_", "-")
        by_flag = read_settings([flag] if value == "true" else [] if value == "false" else [flag, value], {})
        assert read_settings([], {f"MUSERVE_CONFIG_{name.upper()}": value}) == by_flag, name
        file = tmp_path / "muserve.toml"
        file.write_text(f"{name} = {json.dumps(value)}")
        assert read_settings(["--config", str(file)], {}) == by_flag, name
        if name != "models":
            assert by_flag == read_settings([], {}), f"{name} has another default"
