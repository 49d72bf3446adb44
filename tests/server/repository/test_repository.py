"""What is served follows the models folder; a bad bundle never costs what serves."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import shutil
import time
from collections.abc import AsyncIterator, Callable
from itertools import groupby
from pathlib import Path

import pytest

from muserve.bundle import read_bundle, write_manifest
from muserve.configuration import ConfigurationError
from muserve.errors import ModelNotFoundError, ModelRefusedError, UnavailableError
from muserve.v1 import image_pb2, model_pb2
from muserve_server.model import LocalModel
from muserve_server.repository import ModelEntry, Repository
from muserve_server.repository.folders import ModelFolders
from muserve_server.tasks import installed_kinds
from tests.bundles import add_golden, image_bundle
from tests.music_bundles import chord_bundle
from tests.options import local_options
from tests.server.waiting import WAIT_S, until

IMAGE = "image"
READY, REFUSED, LOADING = model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_REFUSED, model_pb2.MODEL_STATE_LOADING


class Served:
    """A repository over a folder, and what was loaded for it."""

    def __init__(self, folder: Path, defaults: dict[str, str] | None = None) -> None:
        self.loaded: list[str] = []
        self.models: list[LocalModel] = []
        self.changes = 0
        self.told: list[int | None] = []
        self.gate = asyncio.Event()
        self.gate.set()
        self.folder = folder
        self.repository = Repository(
            (folder,), self._load, defaults or {}, {}, kinds=installed_kinds(), on_change=self._changed
        )

    async def _load(self, folder: Path) -> LocalModel:
        self.loaded.append(f"{folder.parent.name}/{folder.name}")
        await self.gate.wait()
        self.models.append(await LocalModel.open(folder, local_options(max_samples_per_call=16)))
        return self.models[-1]

    def _changed(self) -> None:
        self.changes += 1
        entry = self.repository.default_version("shapes")
        self.told.append(entry.version if entry else None)

    async def start(self) -> None:
        await self.repository.scan(starting=True)

    async def scan(self) -> None:
        await self.repository.scan()

    def entry(self, name: str = "shapes", version: int = 1) -> ModelEntry:
        return next(e for e in self.repository.entries() if (e.name, e.version) == (name, version))

    async def answer(
        self, name: str = "", version: int | None = None, *, wait_s: float = math.inf
    ) -> image_pb2.GenerateImagesResponse:
        with await self.repository.use(IMAGE, name, version, deadline=time.monotonic() + wait_s) as model:
            response: image_pb2.GenerateImagesResponse = await model.answer(image_pb2.GenerateImagesRequest(seed=1))
            return response


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    made = Served(tmp_path)
    yield made
    await made.repository.close()


async def test_versions_come_and_go(served: Served, tmp_path: Path) -> None:
    image_bundle(tmp_path)
    await served.start()
    assert (await served.answer()).info.version == 1
    image_bundle(tmp_path, version=2, weights_seed=2)
    await served.scan()
    assert (await served.answer()).info.version == 2
    assert (await served.answer(version=1, name="shapes")).info.version == 1
    image_bundle(tmp_path, version=10)  # 10 is newer than 2, as a number
    await served.scan()
    assert (await served.answer()).info.version == 10
    shutil.rmtree(tmp_path / "shapes/10")
    await served.scan()
    assert (await served.answer()).info.version == 2
    with pytest.raises(ModelNotFoundError, match="version is 10; model 'shapes' has the versions 1, 2"):
        await served.answer("shapes", 10)
    assert [version for version, _ in groupby(served.told)] == [None, 1, 2, 10, 2]


async def test_own_and_bundled_models_serve_together_and_the_first_folder_counts(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    own, bundled = tmp_path / "own", tmp_path / "bundled"
    image_bundle(own, weights_seed=1)
    image_bundle(bundled, weights_seed=2)
    chord_bundle(bundled)
    served.repository._folders = ModelFolders((own, bundled))
    for _ in range(2):
        await served.repository.scan()
    assert served.loaded == ["chords/1", "shapes/1"]
    assert served.models[1].bundle.folder == own / "shapes/1"
    (warning,) = [record for record in caplog.records if "passed over" in record.message]
    assert vars(warning)["path"] == str(bundled / "shapes/1")
    first = await served.answer()
    shutil.rmtree(own / "shapes")
    await served.scan()
    assert (await served.answer()).info.digest != first.info.digest
    assert served.models[-1].bundle.folder == bundled / "shapes/1"
    shutil.rmtree(own)
    with pytest.raises(ConfigurationError, match=f"models is {own}, which cannot be read"):
        await served.scan()
    assert (await served.answer()).images


async def test_an_unchanged_folder_is_not_loaded_again(served: Served, tmp_path: Path) -> None:
    image_bundle(tmp_path)
    (image_bundle(tmp_path, version=2) / "graphs/generator.onnx").write_bytes(b"broken")
    await served.start()
    changes = served.changes
    for _ in range(3):
        await served.scan()
    assert served.loaded == ["shapes/2", "shapes/1"]
    assert served.changes == changes


async def test_a_replaced_version_is_swapped_and_the_old_one_closed(served: Served, tmp_path: Path) -> None:
    image_bundle(tmp_path)
    await served.start()
    first = await served.answer()
    shutil.rmtree(tmp_path / "shapes")
    image_bundle(tmp_path, weights_seed=9)
    await served.scan()
    second = await served.answer()
    assert first.info.digest != second.info.digest
    assert first.images[0].png != second.images[0].png
    with pytest.raises(UnavailableError):
        await until_closed(served.models[0])


async def until_closed(model: LocalModel) -> None:
    async with asyncio.timeout(WAIT_S):
        while True:
            await model.answer(image_pb2.GenerateImagesRequest())


async def test_a_removed_model_finishes_its_calls(served: Served, tmp_path: Path) -> None:
    image_bundle(tmp_path)
    await served.start()
    with await served.repository.use(IMAGE, "", None) as model:
        shutil.rmtree(tmp_path / "shapes")
        await served.scan()
        with pytest.raises(ModelNotFoundError):
            await served.answer("shapes")
        assert len((await model.answer(image_pb2.GenerateImagesRequest(count=3))).images) == 3
    with pytest.raises(UnavailableError):
        await until_closed(model)


def _swap_graph(folder: Path) -> None:
    other = image_bundle(folder.parent.parent.parent / "other", weights_seed=3)
    shutil.copy(other / "graphs/generator.onnx", folder / "graphs/generator.onnx")


def _wrong_digest(folder: Path) -> None:
    graph = folder / "graphs/generator.onnx"
    content = bytearray(graph.read_bytes())
    content[-1] ^= 1
    graph.write_bytes(content)


def _half_copied(folder: Path) -> None:
    graph = folder / "graphs/generator.onnx"
    graph.write_bytes(graph.read_bytes()[:100])


def _rename(folder: Path) -> None:
    manifest = read_bundle(folder).manifest
    manifest.version = 7
    write_manifest(folder, manifest, optional=frozenset())


def _empty(folder: Path) -> None:
    shutil.rmtree(folder)
    folder.mkdir()


DAMAGE: dict[str, tuple[Callable[[Path], object], str]] = {
    "no graph": (lambda folder: (folder / "graphs/generator.onnx").unlink(), "is missing; copy the whole bundle"),
    "half-copied": (_half_copied, "has 100 bytes, the manifest says .* copy is not finished"),
    "swapped graph": (_swap_graph, "has SHA-256 .* belongs to another bundle"),
    "wrong digest": (_wrong_digest, "has SHA-256 "),
    "no manifest": (lambda folder: (folder / "manifest.json").unlink(), "not finished"),
    "empty folder": (_empty, "not finished"),
    "broken manifest": (lambda folder: (folder / "manifest.json").write_text('{"formatVersion": 1,'), "not a manifest"),
    "another version": (_rename, "the folder is shapes/2, but its manifest says shapes/7"),
}


@pytest.mark.parametrize("damage", DAMAGE)
async def test_a_bad_bundle_is_refused_and_what_served_goes_on(
    served: Served, tmp_path: Path, damage: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    image_bundle(tmp_path / "models")
    served.repository._folders = ModelFolders((tmp_path / "models",))
    await served.start()
    spoil, reason = DAMAGE[damage]
    good = image_bundle(tmp_path / "good", version=2)
    bad = shutil.copytree(good, tmp_path / "models/shapes/2")
    spoil(bad)
    await served.scan()
    entry = served.entry(version=2)
    assert entry.state == REFUSED
    with pytest.raises(ModelRefusedError, match=reason):
        await served.answer("shapes", 2)
    assert (await served.answer()).info.version == 1
    (line,) = [record for record in caplog.records if record.message == "bundle refused"]
    assert line.__dict__["reason"] == entry.reason
    assert (line.__dict__["model"], line.__dict__["version"]) == ("shapes", 2)
    shutil.rmtree(bad)  # mended, it serves: it is tried again when its files change
    shutil.copytree(good, bad)
    await served.scan()
    assert served.entry(version=2).reason == ""
    assert (await served.answer()).info.version == 2


async def test_a_bundle_that_is_copied_slowly_serves_once_it_is_whole(served: Served, tmp_path: Path) -> None:
    await served.start()
    source = image_bundle(tmp_path / "source")
    target = tmp_path / "shapes/1"
    for path in (Path("graphs/generator.onnx"), Path("manifest.json")):
        (target / path).parent.mkdir(parents=True, exist_ok=True)
        await served.scan()
        with pytest.raises((ModelRefusedError, ModelNotFoundError)):
            await served.answer("shapes")
        shutil.copyfile(source / path, target / path)
    served.repository._folders = ModelFolders((tmp_path,))
    shutil.rmtree(tmp_path / "source")
    await served.scan()
    assert (await served.answer()).info.version == 1


async def test_files_that_go_bad_under_a_serving_version_are_reported(served: Served, tmp_path: Path) -> None:
    folder = image_bundle(tmp_path)
    await served.start()
    _wrong_digest(folder)
    await served.scan()
    assert "has SHA-256" in served.entry().reason
    assert served.entry().state == READY
    assert (await served.answer()).info.version == 1


async def test_a_touched_bundle_is_not_loaded_again(served: Served, tmp_path: Path) -> None:
    folder = image_bundle(tmp_path)
    await served.start()
    os.utime(folder / "manifest.json", (1, 1))
    await served.scan()
    assert served.loaded == ["shapes/1"]
    assert served.entry().reason == ""


async def test_two_models_of_a_task_need_a_default(tmp_path: Path) -> None:
    image_bundle(tmp_path, "circles")
    image_bundle(tmp_path, "squares")
    undecided = Served(tmp_path)
    with pytest.raises(ConfigurationError, match=r"circles, squares .* --default-models image=circles"):
        await undecided.start()
    await undecided.repository.close()
    unknown = Served(tmp_path, {IMAGE: "triangles"})
    with pytest.raises(
        ConfigurationError, match=r"default_models names the image model 'triangles'; .* circles, squares"
    ):
        await unknown.start()
    await unknown.repository.close()
    decided = Served(tmp_path, {IMAGE: "squares"})
    await decided.start()
    assert (await decided.answer()).info.model == "squares"
    assert (await decided.answer("circles")).info.model == "circles"
    await decided.repository.close()


async def test_a_second_model_while_serving_waits_until_the_first_is_gone(served: Served, tmp_path: Path) -> None:
    image_bundle(tmp_path, "circles")
    await served.start()
    image_bundle(tmp_path, "squares")
    await served.scan()
    with pytest.raises(ModelRefusedError, match=r"second image model beside 'circles'.*--default-models image=circles"):
        await served.answer("squares")
    assert (await served.answer()).info.model == "circles"
    shutil.rmtree(tmp_path / "circles")
    await served.scan()
    assert (await served.answer()).info.model == "squares"


async def test_while_it_loads_a_model_is_unavailable_not_unknown(served: Served, tmp_path: Path) -> None:
    """Callers may try UNAVAILABLE again, but not NOT_FOUND."""
    image_bundle(tmp_path, "circles")
    image_bundle(tmp_path, "circles", 2)
    with pytest.raises(UnavailableError):
        await served.answer("circles", wait_s=0)
    served.gate.clear()
    starting = asyncio.create_task(served.start())
    await until(lambda: served.loaded)
    for name, version in (("", None), ("circles", None), ("circles", 2)):
        with pytest.raises(UnavailableError):
            await served.answer(name, version, wait_s=0)
    with pytest.raises(ModelNotFoundError):
        await served.answer("squares")
    served.gate.set()
    await starting
    assert (await served.answer()).info.version == 2


async def test_a_bundle_that_breaks_its_task_is_refused_and_the_others_load(
    served: Served, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever a bundle makes the code raise, the server starts and polling goes on."""
    folder = image_bundle(tmp_path, version=1)
    await add_golden(folder, image_pb2.GenerateImagesRequest(count=17, seed=1))  # more than this server's limit
    image_bundle(tmp_path, version=2)

    load = served.repository._load

    async def fail_oddly(path: Path) -> LocalModel:
        if path.name == "3":
            raise ZeroDivisionError("odd")
        return await load(path)

    served.repository._load = fail_oddly
    image_bundle(tmp_path, version=3)
    await served.start()
    assert "golden 'one' failed: count: is 17" in served.entry(version=1).reason
    assert served.entry(version=3).reason == "ZeroDivisionError('odd')"
    assert (await served.answer()).info.version == 2
    assert any(record.exc_info for record in caplog.records if record.message == "bundle refused")


async def test_folders_that_are_no_versions_are_left_alone(served: Served, tmp_path: Path) -> None:
    image_bundle(tmp_path)
    for name in ("shapes/latest", "shapes/01", "shapes/-1", "shapes/4294967296", "shapes/٣", ".part/1", "x\udcff/1"):
        (tmp_path / name).mkdir(parents=True)
    (tmp_path / "README").write_text("")
    (tmp_path / "shapes/2").write_text("")
    (tmp_path / "shapes/1/loop").symlink_to("loop")
    await served.start()
    assert [(entry.name, entry.version) for entry in served.repository.entries()] == [("shapes", 1)]
    assert (await served.answer()).info.version == 1


async def test_a_folder_that_cannot_be_read_costs_nothing_that_serves(served: Served, tmp_path: Path) -> None:
    image_bundle(tmp_path / "models")
    served.repository._folders = ModelFolders((tmp_path / "models",))
    await served.start()
    (tmp_path / "models").rename(tmp_path / "away")
    with pytest.raises(ConfigurationError, match="cannot be read"):
        await served.scan()
    assert (await served.answer()).info.version == 1


async def test_closing_also_closes_what_still_finishes_its_calls(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    served = Served(tmp_path)
    await served.start()
    with await served.repository.use(IMAGE, "", None) as model:
        shutil.rmtree(tmp_path / "shapes")
        await served.scan()
        await served.repository.close()
        with pytest.raises(UnavailableError):
            await model.answer(image_pb2.GenerateImagesRequest())
