"""No call is answered by a version that is not the default of a finished scan, whatever comes and goes."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muserve.configuration import ConfigurationError
from muserve.errors import ModelNotFoundError, ModelRefusedError, UnavailableError
from muserve.v1 import image_pb2, model_pb2
from muserve_server.model import LocalModel
from muserve_server.repository import Repository
from muserve_server.tasks import installed_kinds
from tests.bundles import image_bundle
from tests.music_bundles import chord_bundle
from tests.server.waiting import until

IMAGE = "image"
LOADING, READY, REFUSED, UNLOADING = (
    model_pb2.MODEL_STATE_LOADING, model_pb2.MODEL_STATE_READY, model_pb2.MODEL_STATE_REFUSED,
    model_pb2.MODEL_STATE_UNLOADING,
)  # fmt: skip


class Watched:
    """A repository that is asked for its default whenever anything loads, and whose loading can be held back."""

    def __init__(
        self, folder: Path, pins: Mapping[str, int], models: Mapping[str, str], max_waiting_calls: int
    ) -> None:
        self.folder = folder
        self.answers: list[str | None] = []
        self.loaded: list[str] = []
        self.held: dict[str, asyncio.Event] = {}
        self.repository = Repository(
            (folder,),
            self._load,
            models,
            pins,
            kinds=installed_kinds(),
            on_change=lambda: None,
            max_waiting_calls=max_waiting_calls,
        )

    async def _load(self, path: Path) -> LocalModel:
        name = f"{path.parent.name}/{path.name}"
        self.loaded.append(name)
        await self.peek()
        if name in self.held:
            await self.held[name].wait()
        model = await LocalModel.open(path)
        await self.peek()
        return model

    async def peek(self) -> None:
        """Notes who answers now."""
        self.answers.append(await self.default())

    async def default(self, name: str = "") -> str | None:
        """Which version answers a call that cannot wait; None for none."""
        try:
            with await self.repository.use(IMAGE, name, None, deadline=time.monotonic()) as model:
                return str(model.bundle)
        except (UnavailableError, ModelNotFoundError, ModelRefusedError):
            return None

    async def answer(self, name: str = "", version: int | None = None) -> str:
        """Who answers a call that waits as long as it takes."""
        with await self.repository.use(IMAGE, name, version) as model:
            info = (await model.answer(image_pb2.GenerateImagesRequest(seed=1))).info
            return f"{info.model}/{info.version}"

    def hold(self, *names: str) -> None:
        """Holds back the loading of bundles until they are released."""
        self.held |= {name: asyncio.Event() for name in names}

    def release(self, name: str) -> None:
        """Lets a bundle load."""
        self.held[name].set()

    async def holding(self, name: str) -> None:
        """Waits until a bundle is being loaded."""
        await until(lambda: name in self.loaded)

    def states(self) -> dict[str, int]:
        """The state of each entry."""
        return {str(entry): entry.state for entry in self.repository.entries()}


@asynccontextmanager
async def watched(
    folder: Path,
    *,
    pins: Mapping[str, int] | None = None,
    models: Mapping[str, str] | None = None,
    max_waiting: int = 9,
) -> Any:
    """A repository over a folder, closed at the end."""
    made = Watched(folder, pins or {}, models or {}, max_waiting)
    try:
        yield made
    finally:
        await made.repository.close()


def spoil(folder: Path) -> Path:
    """Makes a bundle one that does not pass."""
    graph = folder / "graphs/generator.onnx"
    graph.write_bytes(graph.read_bytes()[:-1])
    return folder


async def finished(task: asyncio.Task[Any]) -> None:
    """Awaits a task that must not fail."""
    async with asyncio.timeout(60):
        await task


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> dict[str, dict[int, Path]]:
    """Bundles to copy from: by how they are, by version."""
    root = tmp_path_factory.mktemp("made")
    return {
        "good": {version: image_bundle(root / "good", version=version) for version in (1, 2, 3)},
        "other": {version: image_bundle(root / "other", version=version, weights_seed=7) for version in (1, 2, 3)},
        "bad": {version: spoil(image_bundle(root / "bad", version=version)) for version in (1, 2, 3)},
    }


FOLDERS = st.dictionaries(st.sampled_from([1, 2, 3]), st.sampled_from(["good", "other", "bad"]))


@settings(max_examples=40, deadline=None)
@given(states=st.lists(FOLDERS, min_size=1, max_size=4), pin=st.sampled_from([None, 1, 2]))
async def test_whatever_comes_and_goes_only_defaults_of_finished_scans_answer(
    made: dict[str, dict[int, Path]], states: list[dict[int, str]], pin: int | None
) -> None:
    before: dict[int, str] = {}
    serving: set[int] = set()
    default: str | None = None
    pins = {"shapes": pin} if pin else {}
    with tempfile.TemporaryDirectory() as root:
        async with watched(Path(root), pins=pins) as repository:
            for state in states:
                for version in {*before, *state}:
                    if before.get(version) != state.get(version):
                        shutil.rmtree(Path(root, "shapes", str(version)), ignore_errors=True)
                        if version in state:
                            shutil.copytree(made[state[version]][version], Path(root, "shapes", str(version)))
                serving = {v for v in state if state[v] != "bad" or v in serving}
                candidates = serving & {pin} if pin else serving
                old, default = default, f"shapes/{max(candidates)}" if candidates else None
                repository.answers.clear()
                await repository.repository.scan()
                assert set(repository.answers) <= {old, default}
                assert await repository.default() == await repository.default("shapes") == default
                before = state


async def test_the_highest_version_loads_first_and_calls_wait_for_it(tmp_path: Path) -> None:
    for version in (1, 2, 10):
        image_bundle(tmp_path, version=version)
    chord_bundle(tmp_path)
    async with watched(tmp_path) as repository:
        early = asyncio.create_task(repository.answer())  # before anything is known
        repository.hold("shapes/10", "shapes/2")
        starting = asyncio.create_task(repository.repository.scan(starting=True))
        await repository.holding("shapes/10")
        waiting = [asyncio.create_task(repository.answer(name)) for name in ("", "shapes")]
        second = asyncio.create_task(repository.answer("shapes", 2))
        assert repository.states() == {"chords/1": READY} | {f"shapes/{version}": LOADING for version in (1, 2, 10)}
        with pytest.raises(ModelNotFoundError, match="model is 'squares'; this server has chords, shapes"):
            await repository.answer("squares")
        with pytest.raises(ModelNotFoundError, match="version is 3; model 'shapes' has the versions 1, 10, 2"):
            await repository.answer("shapes", 3)
        repository.release("shapes/10")
        assert await asyncio.gather(early, *waiting) == ["shapes/10"] * 3
        await repository.holding("shapes/2")
        assert not second.done()
        repository.release("shapes/2")
        assert await second == "shapes/2"
        await finished(starting)
        assert repository.loaded == ["chords/1", "shapes/10", "shapes/2", "shapes/1"]
        assert await repository.answer("shapes", 1) == "shapes/1"


async def test_a_refused_version_leaves_its_place_to_the_next(tmp_path: Path) -> None:
    image_bundle(tmp_path, version=1)
    image_bundle(tmp_path, version=2)
    spoil(image_bundle(tmp_path, version=3))
    (image_bundle(tmp_path, version=4) / "manifest.json").write_text("{")
    async with watched(tmp_path) as repository:
        waiting = asyncio.create_task(repository.answer())
        await repository.repository.scan(starting=True)
        assert await waiting == "shapes/2"
        assert repository.answers[:3] == [None] * 3
        with pytest.raises(ModelRefusedError, match=r"shapes/4 was refused: .*not a manifest"):
            await repository.answer("shapes", 4)


async def test_when_all_are_refused_waiting_calls_learn_why(tmp_path: Path) -> None:
    for version in (1, 2):
        spoil(image_bundle(tmp_path, version=version))
    async with watched(tmp_path) as repository:
        waiting = [asyncio.create_task(repository.answer(name)) for name in ("shapes", "")]
        await repository.repository.scan(starting=True)
        named, unnamed = await asyncio.gather(*waiting, return_exceptions=True)
        assert isinstance(named, ModelRefusedError)
        assert "model shapes/2 was refused" in str(named)
        assert isinstance(unnamed, ModelNotFoundError | ModelRefusedError)


async def test_a_pin_answers_in_place_of_the_highest_and_keeps_its_place(tmp_path: Path) -> None:
    for version in (1, 2, 3):
        image_bundle(tmp_path, version=version)
    async with watched(tmp_path, pins={"shapes": 2}) as repository:
        await repository.repository.scan(starting=True)
        assert repository.loaded == ["shapes/2", "shapes/3", "shapes/1"]
        assert await repository.answer() == "shapes/2"
        assert await repository.answer("shapes", 3) == "shapes/3"
        image_bundle(tmp_path, version=4)
        await repository.repository.scan()
        assert await repository.answer() == "shapes/2"
        shutil.rmtree(tmp_path / "shapes/2")
        await repository.repository.scan()
        with pytest.raises(ModelNotFoundError, match="version is 2; model 'shapes' has the versions 1, 3, 4"):
            await repository.answer("shapes")
        assert set(repository.answers) == {None, "shapes/2"}


@pytest.mark.parametrize(
    ("pins", "models", "message"),
    [
        ({"shape": 1}, {}, "default_versions has the model 'shape', which is not in .*; did you mean 'shapes'?"),
        ({"shapes": 5}, {}, "default_versions has version 5 of 'shapes'; .* has 1, 2"),
        ({"shapes": 2}, {}, "default_versions has version 2 of 'shapes', which was refused: shapes/2: graphs/"),
        ({}, {IMAGE: "shape"}, "default_models names the image model 'shape'; .* has shapes"),
    ],
)
async def test_a_default_that_cannot_be_is_an_error_of_the_start(
    tmp_path: Path, pins: dict[str, int], models: dict[str, str], message: str
) -> None:
    image_bundle(tmp_path, version=1)
    spoil(image_bundle(tmp_path, version=2))
    async with watched(tmp_path, pins=pins, models=models) as repository:
        with pytest.raises(ConfigurationError, match=message):
            await repository.repository.scan(starting=True)
        assert repository.loaded in ([], ["shapes/2"])  # what cannot be is not loaded first


async def test_of_two_models_of_a_task_none_answers_before_it_is_known_which(tmp_path: Path) -> None:
    image_bundle(tmp_path, "circles")
    spoil(image_bundle(tmp_path, "squares"))
    (image_bundle(tmp_path, "triangles") / "manifest.json").write_text("{")
    async with watched(tmp_path) as repository:
        repository.hold("squares/1")
        starting = asyncio.create_task(repository.repository.scan(starting=True))
        waiting = asyncio.create_task(repository.answer())
        await repository.holding("squares/1")
        assert await repository.default("circles") == "circles/1"
        assert not waiting.done()
        repository.release("squares/1")
        assert await waiting == "circles/1"
        await finished(starting)
        assert set(repository.answers) == {None}


async def test_a_set_model_answers_as_soon_as_it_is_ready(tmp_path: Path) -> None:
    image_bundle(tmp_path, "circles")
    image_bundle(tmp_path, "squares")
    async with watched(tmp_path, models={IMAGE: "circles"}) as repository:
        repository.hold("squares/1")
        starting = asyncio.create_task(repository.repository.scan(starting=True))
        assert await repository.answer() == "circles/1"
        await repository.holding("squares/1")
        repository.release("squares/1")
        await finished(starting)


async def test_what_is_removed_answers_until_its_place_is_taken(tmp_path: Path) -> None:
    for version in (1, 2):
        image_bundle(tmp_path, version=version)
    async with watched(tmp_path) as repository:
        await repository.repository.scan(starting=True)
        shutil.rmtree(tmp_path / "shapes/2")
        for version in (3, 4):
            image_bundle(tmp_path, version=version)
        repository.answers.clear()
        repository.hold("shapes/4", "shapes/3")
        scanning = asyncio.create_task(repository.repository.scan())
        await repository.holding("shapes/4")
        assert await repository.answer() == await repository.answer("shapes", 2) == "shapes/2"
        assert repository.states() == {
            "shapes/1": READY,
            "shapes/2": UNLOADING,
            "shapes/3": LOADING,
            "shapes/4": LOADING,
        }
        repository.release("shapes/4")
        await repository.holding("shapes/3")
        assert await repository.answer() == "shapes/4"
        with pytest.raises(ModelNotFoundError, match="version is 2"):
            await repository.answer("shapes", 2)
        repository.release("shapes/3")
        await finished(scanning)
        assert set(repository.answers) == {"shapes/2", "shapes/4"}


async def test_a_task_passes_from_one_model_to_another_in_one_step(tmp_path: Path) -> None:
    image_bundle(tmp_path, "circles")
    async with watched(tmp_path) as repository:
        await repository.repository.scan(starting=True)
        shutil.rmtree(tmp_path / "circles")
        image_bundle(tmp_path, "squares")
        repository.answers.clear()
        await repository.repository.scan()
        assert await repository.answer() == "squares/1"
        assert set(repository.answers) == {"circles/1"}
        shutil.rmtree(tmp_path / "squares")
        spoil(image_bundle(tmp_path, "triangles"))
        await repository.repository.scan()
        with pytest.raises(ModelNotFoundError, match="no image model serves here; in the repository: triangles"):
            await repository.answer()


async def test_a_newcomer_takes_over_from_a_model_whose_new_version_is_refused(tmp_path: Path) -> None:
    image_bundle(tmp_path, "squares")
    async with watched(tmp_path) as repository:
        await repository.repository.scan(starting=True)
        shutil.rmtree(tmp_path / "squares")
        spoil(image_bundle(tmp_path, "squares", 2))
        image_bundle(tmp_path, "circles")  # before squares by name, but squares was here first
        repository.answers.clear()
        await repository.repository.scan()
        assert await repository.answer() == "circles/1"
        assert set(repository.answers) == {"squares/1"}


async def test_a_model_that_comes_in_place_of_none_is_waited_for(tmp_path: Path) -> None:
    async with watched(tmp_path) as repository:
        await repository.repository.scan(starting=True)
        with pytest.raises(ModelNotFoundError, match="no image model serves here; in the repository: nothing"):
            await repository.answer()
        for name in ("circles", "squares"):
            image_bundle(tmp_path, name)
        repository.hold("circles/1")
        scanning = asyncio.create_task(repository.repository.scan())
        await repository.holding("circles/1")
        waiting = asyncio.create_task(repository.answer())
        repository.release("circles/1")
        assert await waiting == "circles/1"
        await finished(scanning)
        assert repository.states() == {"circles/1": READY, "squares/1": REFUSED}


async def test_calls_wait_neither_beyond_their_time_nor_their_number_nor_the_end(tmp_path: Path) -> None:
    image_bundle(tmp_path)
    async with watched(tmp_path, max_waiting=2) as repository:
        repository.hold("shapes/1")
        starting = asyncio.create_task(repository.repository.scan(starting=True))
        await repository.holding("shapes/1")
        with pytest.raises(UnavailableError, match=r"model shapes/1 is loading; it took longer") as late:
            await repository.repository.use(IMAGE, "", None, deadline=time.monotonic() + 0.05)
        assert late.value.retry_after_s > 0
        waiting = [asyncio.create_task(repository.answer()) for _ in range(2)]
        await until(lambda: repository.repository._waiting._calls == 2)
        with pytest.raises(UnavailableError, match=r"model shapes/1 is loading, and 2 calls wait already") as many:
            await repository.answer()
        assert many.value.retry_after_s > 0
        waiting.pop().cancel()  # a caller who hangs up makes room
        await until(lambda: repository.repository._waiting._calls == 1)
        waiting.append(asyncio.create_task(repository.answer()))
        await until(lambda: repository.repository._waiting._calls == 2)
        starting.cancel()
        await asyncio.gather(starting, return_exceptions=True)
        repository.repository.stop_loading()
        for ended in await asyncio.gather(*waiting, repository.answer(), return_exceptions=True):
            assert isinstance(ended, UnavailableError)
            assert ended.retry_after_s > 0
            assert "the server is stopping" in ended.message
        assert repository.repository._waiting._calls == 0
