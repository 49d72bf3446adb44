"""The bundle of format version 1 under tests/fixtures: every later build must serve it as the first one did.

It must never be made anew: a build that only serves what it has written itself has broken its users' bundles. When the
format grows, add another bundle beside it. It was made by Muserve 0.1.0, with numpy 2.4.6 and onnx 1.23.2:

    labels = ("round", "square")
    folder = image_bundle(Path("tests/fixtures/bundles"), "shapes", 1, labels=labels)
    await add_golden(folder, GenerateImagesRequest(count=2, labels=labels, seed=1, truncation=0.7))

and the expected images by GenerateImagesRequest(count=2, labels=labels, seed=7).
"""

from __future__ import annotations

import io
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from muserve.bundle import read_bundle, verify_files, write_manifest
from muserve.v1 import image_pb2, image_pb2_grpc, model_pb2, model_pb2_grpc
from muserve_export.cli import main as muserve_export
from muserve_server.model import LocalModel, WarmUpError
from tests.repo.snippets import REPOSITORY, tracked
from tests.server.calling import channel_to
from tests.servers import serving

FIXTURES = REPOSITORY / "tests/fixtures"
BUNDLE = FIXTURES / "bundles/shapes/1"
DIGEST = "c4949ad2d93d1eeba501c37b65626022955b4ae27822ed60589472988a22a4ed"
LABELS = ("round", "square")


def test_it_is_the_bundle_that_was_committed() -> None:
    bundle = read_bundle(BUNDLE)
    verify_files(bundle)
    assert bundle.digest == DIGEST
    assert str(bundle) == "shapes/1"
    files = {path.relative_to(BUNDLE).as_posix() for path in BUNDLE.rglob("*") if path.is_file()}
    assert files == {"manifest.json", *(file.path for file in bundle.manifest.files)}


def test_the_command_line_verifies_it(capsys: pytest.CaptureFixture[str]) -> None:
    muserve_export(["verify", str(BUNDLE)])
    assert "shapes/1" in capsys.readouterr().out


async def test_this_build_serves_it_with_the_same_pixels() -> None:
    async with serving(BUNDLE.parents[1]) as server, channel_to(server.grpc_port) as channel:
        listed = await model_pb2_grpc.ModelServiceStub(channel).ListModels(model_pb2.ListModelsRequest())
        assert [(model.name, model.state) for model in listed.models] == [("shapes", model_pb2.MODEL_STATE_READY)]
        request = image_pb2.GenerateImagesRequest(count=2, labels=LABELS, seed=7)
        response = await image_pb2_grpc.ImageServiceStub(channel).GenerateImages(request)
    assert (response.info.model, response.info.version, response.info.digest) == ("shapes", 1, DIGEST)
    for label, image in zip(LABELS, response.images, strict=True):
        expected = pixels((FIXTURES / f"expected/shapes-1-seed-7-{label}.png").read_bytes())
        assert expected.std() > 20  # a picture, not a blank
        np.testing.assert_allclose(pixels(image.png), expected, atol=1)  # last bits may differ from CPU to CPU


async def test_its_golden_request_is_compared(tmp_path: Path) -> None:
    """The golden of the fixture does hold: with other numbers in it the bundle would be refused."""
    copy = shutil.copytree(BUNDLE, tmp_path / "shapes/1")
    golden = copy / "goldens/one.npz"
    with np.load(golden) as file:
        tensors = dict(file)
    changed = {name: value + np.float32(0.1) if ".out." in name else value for name, value in tensors.items()}
    np.savez(golden, **changed)
    write_manifest(copy, read_bundle(copy).manifest, optional=frozenset())
    with pytest.raises(WarmUpError, match="golden 'one'"):
        await LocalModel.open(copy)


def test_git_keeps_every_byte_of_bundles_and_binaries() -> None:
    names = [name for name in tracked() if name.startswith(("models/", "tests/fixtures/")) or is_binary(name)]
    assert f"{BUNDLE.relative_to(REPOSITORY).as_posix()}/manifest.json" in names
    command = ["git", "check-attr", "-z", "--stdin", "text"]
    result = subprocess.run(
        command, input="\0".join(names), cwd=REPOSITORY, capture_output=True, text=True, timeout=200, check=True
    )
    fields = result.stdout.split("\0")
    values = dict(zip(fields[0::3], fields[2::3], strict=False))
    assert {name for name in names if values[name] != "unset"} == set()


def pixels(png: bytes) -> NDArray[np.int64]:
    with Image.open(io.BytesIO(png)) as image:
        assert (image.format, image.mode) == ("PNG", "L")
        return np.asarray(image).astype(np.int64)


def is_binary(name: str) -> bool:
    return b"\0" in (REPOSITORY / name).read_bytes()
