"""What each distribution carries and needs, and that each works where only it and what it needs are installed."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tarfile
import tomllib
import zipfile
from email.message import Message
from email.parser import Parser
from pathlib import Path

import pytest

from muserve import __version__
from tests.servers import server_process
from tests.wheels import DISTRIBUTIONS, PROBE, REPOSITORY, build_all, make_environment

MIB = 2**20
CARRIED = {
    "muserve": {"muserve": "proto/python/muserve", "muserve_client": "clients/python/muserve_client"},
    "muserve_server": {"muserve_server": "server/muserve_server"},
    "muserve_export": {"muserve_export": "export/muserve_export"},
    "muserve_models": {"muserve_models": "models"},
}
"""Of each distribution, what comes from where in the repository."""
COMMANDS = {
    "muserve": {"muserve"},
    "muserve_server": {"muserve-server"},
    "muserve_export": {"muserve-export"},
    "muserve_models": set[str](),
}


def protos(folder: Path) -> list[Path]:
    found = [path for place in ("muserve/v1", "inference", "google/api") for path in folder.glob(f"{place}/*.proto")]
    assert len({proto.parent for proto in found}) == 3
    found.append(folder / "muserve/v1/muserve_grpc_service_config.json")
    return found


@pytest.fixture(scope="module")
def dist(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Source distributions and wheels."""
    return build_all(tmp_path_factory)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_carries_its_packages_and_nothing_else(name: str, dist: Path) -> None:
    clone = dist.parent / "clone"
    expected = set()
    for package, folder in CARRIED[name].items():
        inside = (path.relative_to(clone / folder).as_posix() for path in files(clone / folder))
        expected |= {f"{package}/{path}" for path in inside if name != "muserve_models" or path.count("/") >= 2}
    if name == "muserve":
        expected |= {f"muserve/protos/{path.relative_to(clone / 'proto')}" for path in protos(clone / "proto")}
    listed = {path for path in archive(dist, name).namelist() if ".dist-info/" not in path}
    assert listed == expected
    if name != "muserve_models":
        assert all(f"{package}/py.typed" in listed for package in CARRIED[name])
    else:
        assert f"muserve_models/{PROBE}/1/manifest.json" in listed
        assert not [path for path in listed if path.endswith(".py")]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_source_distribution_carries_each_file_once(name: str, dist: Path) -> None:
    with tarfile.open(dist / f"{name}-{__version__}.tar.gz") as sources:
        listed = sources.getnames()
    assert sorted(listed) == sorted(set(listed))
    assert not [path for path in listed if "__pycache__" in path]


def test_what_an_export_has_begun_is_no_model(dist: Path, tmp_path: Path) -> None:
    shutil.copytree(
        dist.parent / "clone/models", tmp_path / "models", ignore=shutil.ignore_patterns("graphs", "assets")
    )
    begun = tmp_path / "models/mine/.unfinished"
    begun.mkdir(parents=True)
    (begun / "manifest.json").write_text("{}")
    command = [sys.executable, "-m", "build", "--no-isolation", "--wheel", "--outdir", str(tmp_path)]
    subprocess.run([*command, str(tmp_path / "models")], capture_output=True, check=True)
    assert archive(tmp_path, "muserve_models").namelist()
    assert not [path for path in archive(tmp_path, "muserve_models").namelist() if "mine" in path]


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_wheel_says_who_made_it_and_under_which_terms(name: str, dist: Path) -> None:
    text = metadata(dist, name)
    assert text["Version"] == __version__
    assert text["License-Expression"] == terms(name, dist.parent / "clone/models")
    assert {"Homepage", "Documentation", "Changelog", "Issues"} == {
        line.partition(",")[0] for line in text.get_all("Project-URL", [])
    }
    assert text["Keywords"]
    licences = {"LICENSE"} | ({"THIRD_PARTY.md"} if name in ("muserve_models", "muserve_export") else set())
    folder = f"{name}-{__version__}.dist-info/licenses/"
    held = {path.removeprefix(folder) for path in archive(dist, name).namelist() if path.startswith(folder)}
    assert held == licences
    for licence in licences:
        assert archive(dist, name).read(folder + licence) == (REPOSITORY / licence).read_bytes()


def test_all_have_one_version_and_need_each_other_at_it() -> None:
    for folder in (".", *DISTRIBUTIONS.values()):
        project = tomllib.loads((REPOSITORY / folder / "pyproject.toml").read_text(encoding="utf-8"))["project"]
        assert project["version"] == __version__
        extras = project.get("optional-dependencies", {}).values()
        needs = [*project.get("dependencies", []), *(need for extra in extras for need in extra)]
        ours = [need for need in needs if need.startswith("muserve")]
        assert all(need.endswith(f"=={__version__}") or " @ {root:uri}/" in need for need in ours)


def test_twine_finds_nothing_wrong(dist: Path) -> None:
    command = [sys.executable, "-m", "twine", "check", "--strict", *map(str, dist.iterdir())]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout
    assert done.stdout.count("PASSED") == 2 * len(DISTRIBUTIONS)


@pytest.mark.parametrize("name", DISTRIBUTIONS)
def test_a_command_exists_only_where_it_can_run(name: str, dist: Path, tmp_path: Path) -> None:
    needs = {"muserve_server": ("muserve",), "muserve_export": ("muserve", "muserve_server")}.get(name, ())
    programs = make_environment(tmp_path / "env", dist, name, *needs)
    commands = {path.name for path in programs.glob("muserve*")}
    assert commands == COMMANDS[name] | {command for need in needs for command in COMMANDS[need]}
    for command in commands:
        done = subprocess.run([programs / command, "--version"], capture_output=True, text=True, check=True)
        assert done.stdout.split() == [command, __version__]


def test_the_client_is_small_and_needs_grpc_and_protobuf_alone(dist: Path) -> None:
    assert next(dist.glob("muserve-*.whl")).stat().st_size < MIB
    text = metadata(dist, "muserve")
    names = {line.split(">")[0].split("<")[0].strip() for line in requirements(dist, "muserve")}
    assert names == {"grpcio", "protobuf", "googleapis-common-protos"}
    extras = {"server", "server-gpu", "envoy", "serving", "export", "data", "midi", "classical"}
    assert set(text.get_all("Provides-Extra", [])) == extras
    checkout = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert set(checkout["optional-dependencies"]) == extras


def test_only_export_needs_torch(dist: Path) -> None:
    needing = {name for name in DISTRIBUTIONS if any(need.startswith("torch") for need in requirements(dist, name))}
    assert needing == {"muserve_export"}


def test_export_of_the_wheels_finds_its_families_and_recipes(dist: Path, tmp_path: Path) -> None:
    programs = make_environment(tmp_path / "env", dist, "muserve", "muserve_server", "muserve_export")
    script = (
        "import importlib, pkgutil, muserve_export as package\n"
        "for module in pkgutil.walk_packages(package.__path__, 'muserve_export.'):\n"
        "    if not module.name.endswith('__main__'): importlib.import_module(module.name)\n"
        "print(package.__path__[0])\n"
    )
    done = subprocess.run([programs / "python", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert Path(done.stdout.splitlines()[-1]).is_relative_to(tmp_path / "env")
    done = subprocess.run([programs / "muserve-export", "recipes"], capture_output=True, text=True, check=True)
    project = tomllib.loads((REPOSITORY / "export/pyproject.toml").read_text(encoding="utf-8"))["project"]
    assert {line.split()[0] for line in done.stdout.splitlines()} == set(project["entry-points"]["muserve.families"])


def test_the_protos_in_the_client_can_be_compiled(dist: Path, tmp_path: Path) -> None:
    archive(dist, "muserve").extractall(tmp_path)
    buf = Path(sys.executable).with_name("buf")
    subprocess.run([buf, "build", tmp_path / "muserve/protos", "-o", tmp_path / "protos.binpb"], check=True)
    for proto in protos(REPOSITORY / "proto"):
        carried = tmp_path / "muserve/protos" / proto.relative_to(REPOSITORY / "proto")
        assert carried.read_bytes() == proto.read_bytes()


def test_a_server_of_the_wheels_serves_the_models_of_the_wheel_without_torch(dist: Path, tmp_path: Path) -> None:
    programs = make_environment(tmp_path / "env", dist, "muserve", "muserve_server", "muserve_models")
    models = next((tmp_path / "env").glob("lib/python*/site-packages/muserve_models"))
    (models.parents[1] / "models").mkdir()  # another's, where a checkout would have its own
    script = (
        "import sys, muserve_server.app, muserve_server.settings as s\n"
        "print(s.Settings().models[0])\n"
        "assert 'torch' not in sys.modules and 'muserve_client' not in sys.modules\n"
    )
    done = subprocess.run([programs / "python", "-c", script], capture_output=True, text=True, check=True, cwd=tmp_path)
    assert done.stdout.strip() == str(models)
    bundles = {path.parent for path in models.glob("*/*/manifest.json")}
    with server_process("bundled", "--default-models", "image=digits", program=programs / "muserve-server") as server:
        listing = [str(programs / "muserve"), "models", "--server", f"localhost:{server.grpc_port}", "--json"]
        listed = json.loads(subprocess.run(listing, capture_output=True, text=True, check=True, cwd=tmp_path).stdout)
        served = {(model["name"], str(model["version"])) for model in listed}
        assert served == {(bundle.parent.name, bundle.name) for bundle in bundles}
        command = [programs / "muserve", "images", "--count", "2", "--server", f"localhost:{server.grpc_port}"]
        subprocess.run([*map(str, command), "--out", str(tmp_path / "two.png")], check=True, cwd=tmp_path)
    assert (tmp_path / "two.png").read_bytes().startswith(b"\x89PNG")


def archive(dist: Path, name: str) -> zipfile.ZipFile:
    (path,) = dist.glob(f"{name}-*-py3-none-any.whl")
    return zipfile.ZipFile(path)


def metadata(dist: Path, name: str) -> Message:
    return Parser().parsestr(archive(dist, name).read(f"{name}-{__version__}.dist-info/METADATA").decode())


def requirements(dist: Path, name: str) -> list[str]:
    return [line for line in metadata(dist, name).get_all("Requires-Dist", []) if "extra ==" not in line]


def terms(name: str, models: Path) -> str:
    """The terms of what a distribution carries: those of the code, or of all its bundles."""
    if name != "muserve_models":
        return "Apache-2.0"
    manifests = [json.loads(path.read_text()) for path in models.glob("*/*/manifest.json") if PROBE not in path.parts]
    return " AND ".join(sorted({term for manifest in manifests for term in manifest["licence"].split(" AND ")}))


def files(folder: Path) -> list[Path]:
    return [path for path in folder.rglob("*") if path.is_file() and "__pycache__" not in path.parts]
