"""The released SDK, server, bundles and command line work with today's, and give the same bytes and errors."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from muserve.bundle import read_bundle
from muserve_client import Client
from tests.servers import ServerProcess, server_process
from tests.upgrade.released import REPOSITORY, build, released
from tests.upgrade.versions import NEW, OLD, environment, run

PAIRS = [(OLD, NEW), (NEW, OLD), (NEW, NEW)]
"""SDK and server. The reference is the released SDK with the released server."""


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


def test_released_bundles_are_those_of_this_tree_and_keep_their_digests(bundles: Path, drive: Any) -> None:
    found = [path.parent for path in bundles.glob("*/*/manifest.json")]
    assert len(found) >= 9
    digests = {str(folder.relative_to(bundles)): read_bundle(folder).digest for folder in found}
    trees = (REPOSITORY / "models", REPOSITORY / "tests/fixtures/bundles")
    today = [tree / name for name in digests for tree in trees if (tree / name).exists()]
    assert {"/".join(folder.parts[-2:]): read_bundle(folder).digest for folder in today} == digests
    # A server that lists one as ready has recomputed its golden answers.
    listed, *_ = drive(NEW, NEW)["answers"]["models"]
    assert {f"{name}/{version}": digest for name, version, _, _, digest, _ in listed} == digests
    assert {state for _, _, _, state, _, _ in listed} == {"ready"}


def test_a_clone_without_the_released_commit_says_how_to_fetch_it(tmp_path: Path) -> None:
    missing = "0" * 40
    with pytest.raises(RuntimeError, match=f"{missing} is not in this clone .*git fetch origin {missing}"):
        build(missing, tmp_path / "released")


COMMANDS: dict[str, list[object]] = {
    "models": ["models", "--json"],
    "images": ["images", "--count", "4", "--seed", "5", "--out", "sheet.png"],
    "forecast": ["forecast", "series.csv", "--horizon", "4", "--frequency", "quarterly", "--out", "forecast.csv"],
    "music": ["music", "--style", "samba", "--bars", "2", "--seed", "3", "--out", "song.mid"],
    "accompany": ["accompany", "song.mid", "--tracks", "drums", "--seed", "4", "--out", "band.mid"],
    "translate": ["translate", REPOSITORY / "clients/examples/satellite.jpg", "--to", "map", "--out", "map.png"],
    "ask": ["ask", "What is gRPC?", "--seed", "1", "--json"],
    "questions": ["questions", "text.txt", "--count", "2", "--seed", "1", "--json"],
    "verify": ["verify", "--model", "digits", "--rounds", "1"],
}


WRONG_COMMANDS: dict[str, list[object]] = {
    "a bad count": ["images", "--count", "0", "--seed", "5"],
    "no such model": ["images", "--model", "nonesuch"],
    "no such file": ["translate", "nonesuch.png", "--to", "map"],
    "an empty question": ["ask", ""],
    "no such command": ["nonesuch"],
    "no such flag": ["models", "--nonesuch"],
}


@pytest.fixture(scope="module")
def commands(servers: dict[str, ServerProcess], tmp_path_factory: pytest.TempPathFactory) -> Any:
    """Runs every command of one version on a server, once; returns the files, and what those with --json print."""

    @cache
    def run_all(cli: str, server: str) -> tuple[dict[str, bytes], dict[str, str]]:
        folder = tmp_path_factory.mktemp("commands")
        (folder / "series.csv").write_text("\n".join(map(str, [3, 4, 5, 4, 3, 4, 5, 4, 3, 4, 5, 4])))
        (folder / "text.txt").write_text("A lantern is a portable lamp. It was invented by Ann Lee in 1820.")
        printed: dict[str, str] = {}
        for name, arguments in COMMANDS.items():
            text = run(cli, "-m", "muserve_client", *arguments, cwd=folder, MUSERVE_SERVER=target(servers[server]))
            if "--json" in arguments:
                printed[name] = text
        return {path.name: path.read_bytes() for path in folder.iterdir()}, printed

    return run_all


@pytest.mark.parametrize(("cli", "server"), PAIRS)
def test_every_command_writes_and_prints_the_same(cli: str, server: str, commands: Any) -> None:
    (files, printed), (reference, reference_printed) = commands(cli, server), commands(OLD, OLD)
    assert {"sheet.png", "forecast.csv", "song.mid", "band.mid", "map.png"} <= set(reference)
    assert files == reference
    assert set(reference_printed) == {"models", "ask", "questions"}
    assert printed == reference_printed


@pytest.mark.parametrize("name", WRONG_COMMANDS)
def test_wrong_commands_exit_as_before(name: str, servers: dict[str, ServerProcess], tmp_path: Path) -> None:
    code = 2 if name in {"no such command", "no such flag"} else 1
    for cli, server in ((OLD, OLD), *PAIRS):
        arguments = ("-m", "muserve_client", *WRONG_COMMANDS[name])
        run(cli, *arguments, cwd=tmp_path, exit_code=code, MUSERVE_SERVER=target(servers[server]))
    assert list(tmp_path.iterdir()) == []


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
