"""examples/plugin beside the wheels of Muserve in a fresh environment: trained, exported, served, called, verified."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import grpc
import pytest
from grpc_health.v1 import health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection_pb2, reflection_pb2_grpc

from tests.repo.snippets import PLACEHOLDER_SERVER, blocks
from tests.server.calling import get_http
from tests.servers import ServerProcess, server_process
from tests.wheels import REPOSITORY, build_all, make_environment

EXAMPLE = REPOSITORY / "examples/plugin"
TIMEOUT_S = 200


@pytest.fixture(scope="module")
def programs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The programs of an environment with Muserve's wheels and the example's."""
    dist = build_all(tmp_path_factory)
    folder = tmp_path_factory.mktemp("example")
    build = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(folder), str(EXAMPLE)]
    subprocess.run(build, check=True, capture_output=True, timeout=TIMEOUT_S)
    made = make_environment(folder / "env", dist, "muserve", "muserve_server", "muserve_export")
    (wheel,) = folder.glob("*.whl")
    pip = [
        sys.executable,
        "-m",
        "pip",
        "--python",
        str(made / "python"),
        "install",
        "--quiet",
        "--no-deps",
        "--no-index",
    ]
    subprocess.run([*pip, str(wheel)], check=True, timeout=TIMEOUT_S)
    return made


@pytest.fixture(scope="module")
def run_in(programs: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("work")


def run(programs: Path, folder: Path, program: str, *arguments: object) -> str:
    command = [str(programs / program), *map(str, arguments)]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=TIMEOUT_S, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def models(programs: Path, run_in: Path) -> Path:
    """A bundle of a tiny run, measured."""
    run(programs, run_in, "muserve-export", "train", "palette", "--recipe", "tiny", "--out", "runs/palette")
    run(programs, run_in, "muserve-export", "export", "runs/palette", "--out", "my-models", "--evaluate")
    return run_in / "my-models"


@pytest.fixture(scope="module")
def server(programs: Path, models: Path) -> Iterator[ServerProcess]:
    program = programs / "muserve-server"
    with server_process(
        models, "--max-mood-letters", "12", "--default-models", "palette=palette", program=program
    ) as it:
        yield it


def test_no_file_of_the_house_knows_of_it() -> None:
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    house = [name for name in listed.split("\0") if name.startswith(("clients/", "export/", "proto/", "server/"))]
    assert len(house) > 200
    for name in house:
        if name.endswith((".py", ".proto", ".toml", ".md")):
            assert not re.search(rb"(?i)(?<!put)palette", (REPOSITORY / name).read_bytes()), name


def test_its_own_tests_pass(programs: Path) -> None:
    out = run(programs, EXAMPLE, "python", "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests")
    assert re.search(r"\d+ passed", out)
    assert "failed" not in out


def test_the_family_is_listed_with_its_recipes_and_measured(programs: Path, run_in: Path, models: Path) -> None:
    recipes = run(programs, run_in, "muserve-export", "recipes")
    assert re.search(r"palette +tutorial +The whole table", recipes)
    card = (models / "palette/1/MODEL_CARD.md").read_text()
    assert "energy score" in card
    assert "all training palettes, whatever the mood" in card
    assert "energy" in run(programs, run_in, "muserve-export", "evaluate", models / "palette/1", "--part", "validation")
    assert "golden requests" in run(programs, run_in, "muserve-export", "verify", models / "palette/1")


def test_the_command_the_sdk_and_verify(programs: Path, run_in: Path, server: ServerProcess) -> None:
    address = ("--server", f"localhost:{server.grpc_port}")
    first = run(
        programs, run_in, "muserve", "palette", "calm", "--count", "3", "--seed", "7", "--out", "c.png", *address
    )
    assert len(re.findall(r"^#[0-9a-f]{6}( #[0-9a-f]{6}){4}$", first, re.MULTILINE)) == 3
    assert (run_in / "c.png").read_bytes().startswith(b"\x89PNG")
    script = (
        "import asyncio, sys\n"
        "from muserve_client import AsyncClient, Client, InvalidRequestError\n"
        "from muserve_palette.calls import palettes\n"
        "with Client(sys.argv[1]) as client:\n"
        "    made = client.run(palettes('calm', 3, seed=7))\n"
        "    try:\n"
        "        client.run(palettes('verymelancholic', 0))\n"
        "    except InvalidRequestError as error:\n"
        "        print([violation.field for violation in error.violations])\n"
        "async def again():\n"
        "    async with AsyncClient(sys.argv[1]) as client:\n"
        "        crowd = [client.run(palettes('angry', 5, seed=n)) for n in range(20)]\n"
        "        one = client.run(palettes('calm', 1, seed=7, first_sample=2))\n"
        "        return (await asyncio.gather(*crowd, one))[-1]\n"
        "assert asyncio.run(again()).palettes[0] == made.palettes[2]\n"
        "for palette in made.palettes: print(*palette.colours)\n"
    )
    out = run(programs, run_in, "python", "-c", script, f"localhost:{server.grpc_port}").splitlines()
    assert out[0] == "['mood', 'count']"
    assert out[1:] == first.splitlines()[:3]
    listed = run(programs, run_in, "muserve", "models", "--task", "palette", *address).splitlines()
    assert listed[1].split()[:5] == ["palette", "1", "palette", "ready", "yes"]
    verified = run(programs, run_in, "muserve", "verify", "--rounds", "1", *address)
    assert verified.endswith("4 of 4 checks passed\n")


def test_the_snippets_of_its_readme_do_what_they_show(programs: Path, run_in: Path, server: ServerProcess) -> None:
    """But for the commands that the fixtures here run: what installs, trains, exports and serves it."""
    address = f"localhost:{server.grpc_port}"
    called = []
    for block in blocks("examples/plugin/README.md"):
        if block.language == "python":
            run(programs, run_in, "python", "-c", block.text.replace(PLACEHOLDER_SERVER, address))
            called.append("python")
            continue
        for program, *arguments in map(shlex.split, block.text.splitlines()):
            if program == "muserve":
                run(programs, run_in, program, *arguments, "--server", address)
            called.append(program)
    assert called == ["pip", "muserve-export", "muserve-export", "muserve-server", "muserve", "muserve", "python"]
    assert (run_in / "calm.png").exists()


def test_health_reflection_and_metrics_know_its_service(programs: Path, run_in: Path, server: ServerProcess) -> None:
    run(programs, run_in, "muserve", "palette", "joyful", "--server", f"localhost:{server.grpc_port}")
    with grpc.insecure_channel(f"localhost:{server.grpc_port}") as channel:
        check = health_pb2_grpc.HealthStub(channel).Check
        status = check(health_pb2.HealthCheckRequest(service="palette.v1.PaletteService")).status
        assert status == health_pb2.HealthCheckResponse.SERVING
        query = reflection_pb2.ServerReflectionRequest(list_services="")
        (answer,) = reflection_pb2_grpc.ServerReflectionStub(channel).ServerReflectionInfo(iter([query]))
        assert "palette.v1.PaletteService" in {service.name for service in answer.list_services_response.service}
    _, metrics = get_http(server.http_port, "/metrics")
    assert re.search(r'muserve_request_seconds_count\{.*method="/palette\.v1\.PaletteService/MakePalettes"', metrics)


def test_the_stubs_are_in_step_with_the_proto(tmp_path: Path) -> None:
    protoc = REPOSITORY / ".venv-proto/bin/python"
    if not protoc.exists():
        subprocess.run(["make", "proto"], cwd=REPOSITORY, check=True, capture_output=True, timeout=TIMEOUT_S)
    proto = "muserve_palette/v1/palette.proto"
    command = [protoc, "-m", "grpc_tools.protoc", f"-I{EXAMPLE / 'proto'}", f"-I{REPOSITORY / 'proto'}", proto]
    subprocess.run(
        [*map(str, command), f"--python_out={tmp_path}", f"--pyi_out={tmp_path}"], check=True, timeout=TIMEOUT_S
    )
    for name in ("palette_pb2.py", "palette_pb2.pyi"):
        assert (tmp_path / "muserve_palette/v1" / name).read_text() == (
            EXAMPLE / "muserve_palette/v1" / name
        ).read_text()


def test_the_wheels_bring_no_torch_into_the_server(server: ServerProcess) -> None:
    maps = Path(f"/proc/{server.process.pid}/maps").read_text()
    assert "libtorch" not in maps
