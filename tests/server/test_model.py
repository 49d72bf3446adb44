"""A bundle in this process: verification, goldens, and what a closed model does."""

from __future__ import annotations

import asyncio
import json
import os
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muserve.bundle import Bundle, BundleError, BundleFileError, ManifestError, read_bundle, write_manifest
from muserve.errors import UnavailableError
from muserve.v1 import image_pb2, manifest_pb2
from muserve_server.engine import OnnxOptions
from muserve_server.model import LocalModel, LocalOptions, WarmUpError
from muserve_server.tasks import Kinds
from tests.bundles import add_golden, image_bundle
from tests.options import local_options

GOLDEN = image_pb2.GenerateImagesRequest(count=3, seed=5)


async def golden_bundle(root: Path, *, tolerance: float = 1e-5) -> Path:
    folder = image_bundle(root)
    await add_golden(folder, GOLDEN, tolerance=tolerance)
    return folder


def rewrite(folder: Path, edit: Callable[[manifest_pb2.ModelManifest], object]) -> Bundle:
    manifest = read_bundle(folder).manifest
    edit(manifest)
    return write_manifest(folder, manifest, optional=frozenset())


async def test_goldens_are_run_before_it_serves(tmp_path: Path) -> None:
    folder = await golden_bundle(tmp_path)
    runs: list[int] = []
    options = LocalOptions(on_run=lambda _bundle, _graph, rows, _seconds: runs.append(rows))
    async with await LocalModel.open(folder, options) as model:
        assert runs == [3]
        assert not model.batcher("generator").stats.runs  # the statistics are of requests alone
        assert len((await model.answer(image_pb2.GenerateImagesRequest())).images) == 1
        assert model.batcher("generator").stats.succeeded.count == 1


async def test_tensors_that_differ_are_refused_and_a_tolerance_is_kept(tmp_path: Path) -> None:
    folder = await golden_bundle(tmp_path, tolerance=0.01)
    with np.load(folder / "goldens/one.npz") as file:
        tensors = dict(file)
    tensors["0.generator.out.image"][1, 0, 2, 3] += 0.009
    np.savez(folder / "goldens/one.npz", **tensors)
    rewrite(folder, lambda manifest: None)
    await (await LocalModel.open(folder)).close()
    tensors["0.generator.out.image"][1, 0, 2, 3] += 0.009
    np.savez(folder / "goldens/one.npz", **tensors)
    rewrite(folder, lambda manifest: None)
    with pytest.raises(WarmUpError, match=r"0\.generator\.out\.image differs by 0\.018.*allowed: 0\.01"):
        await LocalModel.open(folder)


@pytest.mark.parametrize("value", [np.nan, np.inf])
async def test_no_tolerance_lets_nan_through(tmp_path: Path, value: float) -> None:
    folder = await golden_bundle(tmp_path, tolerance=1e30)
    with np.load(folder / "goldens/one.npz") as file:
        tensors = dict(file)
    tensors["0.generator.out.image"][0] = value
    np.savez(folder / "goldens/one.npz", **tensors)
    rewrite(folder, lambda manifest: None)
    with pytest.raises(WarmUpError, match="differs by"):
        await LocalModel.open(folder)


@pytest.mark.parametrize("tolerance", [float("nan"), float("inf"), -1.0])
async def test_a_tolerance_that_proves_nothing_is_refused(tmp_path: Path, tolerance: float) -> None:
    folder = await golden_bundle(tmp_path, tolerance=tolerance)
    with pytest.raises(ManifestError, match="it must be 0 or more"):
        await LocalModel.open(folder)


@pytest.mark.parametrize("keys", ["missing", "more", "another shape"])
async def test_other_tensors_than_at_export_are_refused(tmp_path: Path, keys: str) -> None:
    folder = await golden_bundle(tmp_path)
    with np.load(folder / "goldens/one.npz") as file:
        tensors = dict(file)
    name = "0.generator.out.image"
    if keys == "another shape":
        tensors[name] = tensors[name][:2]
    elif keys == "more":
        tensors["1.generator.out.image"] = tensors[name]
    else:
        del tensors[name]
    np.savez(folder / "goldens/one.npz", **tensors)
    rewrite(folder, lambda manifest: None)
    with pytest.raises(WarmUpError):
        await LocalModel.open(folder)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 broken", b"\x93NUMPY\x01\x00", b"no archive"])
async def test_a_golden_that_is_no_archive_is_refused(tmp_path: Path, content: bytes) -> None:
    folder = await golden_bundle(tmp_path)
    (folder / "goldens/one.npz").write_bytes(content)
    rewrite(folder, lambda manifest: None)
    with pytest.raises(BundleFileError, match=r"goldens/one\.npz is not an \.npz"):
        await LocalModel.open(folder)


async def test_pickles_are_not_read(tmp_path: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[object, ...]:
            return os.mkdir, (str(tmp_path / "executed"),)

    folder = await golden_bundle(tmp_path)
    np.savez(folder / "goldens/one.npz", trap=np.array([Trap()], dtype=object))
    rewrite(folder, lambda manifest: None)
    with pytest.raises(BundleFileError, match="without pickles"):
        await LocalModel.open(folder)
    assert not (tmp_path / "executed").exists()


async def test_a_golden_that_cannot_run_is_refused(tmp_path: Path) -> None:
    folder = await golden_bundle(tmp_path)
    with pytest.raises(WarmUpError, match="golden 'one' failed: count: is 3"):
        await LocalModel.open(folder, local_options(max_samples_per_call=2))
    rewrite(folder, lambda manifest: manifest.goldens[0].ClearField("generate_images"))
    with pytest.raises(ManifestError, match="golden 'one' has no request that this build knows"):
        await LocalModel.open(folder)


async def test_a_task_kind_that_is_not_installed_is_refused(tmp_path: Path) -> None:
    with pytest.raises(
        ManifestError, match=r"kind 'image' is not installed here; .* entry point 'image' in .*muserve\.tasks"
    ):
        await LocalModel.open(image_bundle(tmp_path), local_options(kinds=Kinds({})))


async def test_a_link_out_of_the_bundle_is_refused_and_one_inside_is_not(tmp_path: Path) -> None:
    folder = image_bundle(tmp_path / "models")
    graph = folder / "graphs/generator.onnx"
    graph.rename(tmp_path / "elsewhere.onnx")
    graph.symlink_to(tmp_path / "elsewhere.onnx")
    with pytest.raises(BundleFileError, match=r"graphs/generator\.onnx is a link out of the bundle"):
        await LocalModel.open(folder)
    graph.unlink()
    (tmp_path / "elsewhere.onnx").rename(folder / "generator.data")
    graph.symlink_to("../generator.data")
    await (await LocalModel.open(folder)).close()
    link = tmp_path / "current"  # the bundle's folder itself may be a link
    link.symlink_to(folder)
    await (await LocalModel.open(link)).close()


@pytest.mark.parametrize(
    "apart", [manifest_pb2.Graph(max_batch_rows=1), manifest_pb2.Graph(max_batch_rows=64, max_threads=1)]
)
def test_what_gains_nothing_from_company_or_threads_runs_side_by_side(
    monkeypatch: pytest.MonkeyPatch, apart: manifest_pb2.Graph
) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    together = manifest_pb2.Graph(max_batch_rows=2, max_threads=2)
    assert (LocalOptions().runs_of(apart), LocalOptions().runs_of(together)) == (3, 1)
    assert LocalOptions(runs_at_once=2).runs_of(together) == 2
    assert LocalOptions(onnx=OnnxOptions("cuda")).runs_of(apart) == 1


def test_no_run_has_more_threads_than_it_gains_from(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.cpu_count", lambda: 3)
    few, many, all_ = (manifest_pb2.Graph(max_threads=most) for most in (2, 8, 0))
    assert [OnnxOptions().threads_of(graph) for graph in (few, many, all_)] == [2, 3, 0]
    assert [OnnxOptions(threads=1).threads_of(graph) for graph in (few, many, all_)] == [1, 1, 1]


async def test_a_closed_model_says_so(tmp_path: Path) -> None:
    model = await LocalModel.open(image_bundle(tmp_path))
    await model.close()
    with pytest.raises(UnavailableError):
        await model.answer(image_pb2.GenerateImagesRequest())
    await model.close()


@pytest.mark.parametrize(
    "text",
    ["", "null", "[]", "{}", '"x"', "[" * 100_000, "\ud800", '{"formatVersion":2}', '{"formatVersion":1,"graphs":5}',
     '{"formatVersion":1,"version":-1}', '{"formatVersion":1,"version":NaN}', '{"formatVersion":true}',
     '{"formatVersion":1,"name":"x","version":1,"task":"TASK_OF_TOMORROW"}',
     '{"formatVersion":1,"name":"../x","version":1,"task":"TASK_IMAGE"}'],
)  # fmt: skip
async def test_a_manifest_that_is_none_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "manifest.json").write_bytes(text.encode(errors="surrogatepass"))
    with pytest.raises(ManifestError):
        await LocalModel.open(tmp_path)


async def test_a_manifest_that_is_no_file_or_too_large_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ManifestError, match="no such file"):
        await LocalModel.open(tmp_path)
    os.mkfifo(tmp_path / "manifest.json")
    with pytest.raises(ManifestError):
        await LocalModel.open(tmp_path)
    (tmp_path / "manifest.json").unlink()
    (tmp_path / "manifest.json").write_bytes(b" " * (5 * 2**20))
    with pytest.raises(ManifestError, match="at most"):
        await LocalModel.open(tmp_path)


@pytest.mark.parametrize("path", ["../secret", "/etc/passwd", "graphs/../../x", "a\\b", ""])
async def test_a_path_out_of_the_bundle_is_refused(tmp_path: Path, path: str) -> None:
    folder = image_bundle(tmp_path)
    text = (folder / "manifest.json").read_text()
    escaped = path.replace("\\", "\\\\")
    (folder / "manifest.json").write_text(text.replace("graphs/generator.onnx", escaped))
    with pytest.raises(ManifestError, match="leaves the bundle"):
        await LocalModel.open(folder)


async def test_unused_batchers_of_a_refused_bundle_are_closed(tmp_path: Path) -> None:
    import threading

    folder = await golden_bundle(tmp_path)
    before = set(threading.enumerate())
    with pytest.raises(BundleError):
        await LocalModel.open(folder, local_options(max_samples_per_call=2))
    new = set(threading.enumerate()) - before
    assert not [thread for thread in new if thread.name.startswith(("engine", "offload"))]


junk = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@given(st.data())
@settings(max_examples=150)
def test_whatever_a_manifest_says_it_is_read_or_refused(data: st.DataObject) -> None:
    with tempfile.TemporaryDirectory() as root:
        path = image_bundle(Path(root), labels=("a", "b")) / "manifest.json"
        manifest = json.loads(path.read_text())
        place: Any = manifest
        while True:  # one value anywhere in it becomes something else
            keys = list(place) if isinstance(place, dict) else list(range(len(place)))
            key = data.draw(st.sampled_from(keys))
            if isinstance(place[key], dict | list) and place[key] and data.draw(st.booleans()):
                place = place[key]
                continue
            place[key] = data.draw(junk)
            break
        path.write_text(json.dumps(manifest))

        async def open_and_close() -> None:
            await (await LocalModel.open(path.parent)).close()

        with suppress(BundleError):
            asyncio.run(open_and_close())
