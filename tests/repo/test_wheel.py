"""What the wheel carries: all four packages, the bundled models, the licences, the marks of typed packages."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from email.parser import Parser
from pathlib import Path

import pytest

from tests.bundles import image_bundle

REPOSITORY = Path(__file__).parents[2]
PACKAGES = {
    "muserve": "proto/python",
    "muserve_client": "clients/python",
    "muserve_export": "export",
    "muserve_server": "server",
}

pytestmark = pytest.mark.timeout(300)  # the build fetches hatchling


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a fresh clone holds, with one bundle more."""
    copy = tmp_path_factory.mktemp("clone")
    for name in git("ls-files", "-z").split("\0"):
        if name and (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, copy / name)
    image_bundle(copy / "models", "wheel-probe")
    return copy


@pytest.fixture(scope="module")
def wheel(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked."""
    out = tmp_path_factory.mktemp("wheel")
    command = [sys.executable, "-m", "build", "--wheel", "--outdir", str(out), str(source)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=280, check=False)
    assert result.returncode == 0, result.stdout + result.stderr
    (path,) = out.glob("*.whl")
    assert path.name.endswith("-py3-none-any.whl")
    with zipfile.ZipFile(path) as archive:
        archive.extractall(out / "unpacked")
    return out / "unpacked"


@pytest.mark.parametrize("package", PACKAGES)
def test_wheel_carries_the_whole_package(package: str, source: Path, wheel: Path) -> None:
    expected = files(source / PACKAGES[package] / package)
    assert "py.typed" in expected
    assert expected <= files(wheel / package)


def test_wheel_carries_the_models(source: Path, wheel: Path) -> None:
    models = files(source / "models")
    assert "wheel-probe/1/manifest.json" in models
    assert files(wheel / "muserve_server/models") == models


def test_wheel_carries_nothing_else(wheel: Path) -> None:
    assert {path.name for path in wheel.iterdir()} == {*PACKAGES, metadata_folder(wheel).name}
    assert not [name for name in files(wheel) if name.endswith((".pyc", ".ckpt"))]


def test_wheel_carries_the_licences(wheel: Path) -> None:
    assert {"LICENSE", "THIRD_PARTY.md"} <= files(metadata_folder(wheel) / "licenses")


def test_wheel_needs_only_grpc_and_protobuf_without_extras(wheel: Path) -> None:
    metadata = Parser().parsestr((metadata_folder(wheel) / "METADATA").read_text(encoding="utf-8"))
    plain = [line for line in metadata.get_all("Requires-Dist", []) if "extra ==" not in line]
    names = {line.split(">")[0].split("<")[0].strip() for line in plain}
    assert names == {"grpcio", "protobuf", "googleapis-common-protos"}
    assert {"server", "server-gpu", "export"} <= set(metadata.get_all("Provides-Extra", []))


def test_a_server_of_the_wheel_serves_the_models_inside(wheel: Path) -> None:
    script = "import muserve_server.settings as s; print(s.Settings().models)"
    result = subprocess.run(
        [sys.executable, "-c", script], cwd=wheel.parent, env={**os.environ, "PYTHONPATH": str(wheel)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert result.stdout.strip() == str(wheel / "muserve_server/models")


def metadata_folder(wheel: Path) -> Path:
    (folder,) = wheel.glob("*.dist-info")
    return folder


def files(folder: Path) -> set[str]:
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file())
    return {name for name in found if "__pycache__" not in name}


def git(*arguments: str) -> str:
    return subprocess.run(["git", *arguments], cwd=REPOSITORY, capture_output=True, text=True, check=True).stdout
