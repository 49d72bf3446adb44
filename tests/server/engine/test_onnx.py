"""Graphs on the real onnxruntime: what opens, what is refused, what fails."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest

from muserve.bundle import read_bundle
from muserve.v1 import manifest_pb2
from muserve_server.engine import EngineError, OnnxEngine, OnnxOptions
from tests.bundles import HEIGHT, LATENT_SIZE, WIDTH, image_bundle, loop_bundle


@pytest.fixture
def graph_file(tmp_path: Path) -> tuple[Path, manifest_pb2.Graph]:
    folder = image_bundle(tmp_path, labels=("a", "b"))
    return folder / "graphs/generator.onnx", read_bundle(folder).manifest.graphs[0]


def test_it_runs_and_closes(graph_file: tuple[Path, manifest_pb2.Graph]) -> None:
    engine = OnnxEngine.open(*graph_file, OnnxOptions())
    inputs = {
        "latent": np.zeros((3, LATENT_SIZE), np.float32),
        "truncation": np.ones(3, np.float32),
        "label": np.array([0, 1, 0]),
    }
    image = engine.run(inputs)["image"]
    assert image.shape == (3, 1, HEIGHT, WIDTH)
    assert np.array_equal(image[0], image[2])
    for wrong in ({"label": np.array([0, 9, 0])}, {"latent": np.zeros((3, 1), np.float32)}, {"truncation": np.ones(3)}):
        with pytest.raises(EngineError):
            engine.run(inputs | wrong)
    assert np.array_equal(engine.run(inputs)["image"], image)
    engine.close()
    with pytest.raises(EngineError, match="closed"):
        engine.run(inputs)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda g: setattr(g.inputs[0], "name", "z"), r"has the inputs \['label', 'latent', 'truncation'\]"),
        (lambda g: g.outputs.pop(), "has the outputs"),
        (lambda g: setattr(g.inputs[0], "dtype", manifest_pb2.DATA_TYPE_INT64), r"is tensor\(float\).*manifest says"),
        (lambda g: setattr(g.inputs[0], "dtype", manifest_pb2.DATA_TYPE_UNSPECIFIED), "manifest says None"),
        (lambda g: g.inputs[0].shape.__setitem__(1, 5), r"\[-1, 16\], the manifest says .*\[-1, 5\]"),
        (lambda g: g.inputs[0].shape.__setitem__(0, 4), "the batch, -1, comes first"),
        (lambda g: g.inputs[0].ClearField("shape"), "the batch, -1, comes first"),
    ],
)
def test_another_signature_is_refused(
    graph_file: tuple[Path, manifest_pb2.Graph], edit: Callable[[manifest_pb2.Graph], object], text: str
) -> None:
    path, graph = graph_file
    edit(graph)
    with pytest.raises(EngineError, match=text):
        OnnxEngine.open(path, graph, OnnxOptions())


def test_a_fixed_batch_is_refused(graph_file: tuple[Path, manifest_pb2.Graph]) -> None:
    path, graph = graph_file
    model = onnx.load(path)
    model.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 4
    onnx.save(model, path)
    with pytest.raises(EngineError, match=r"\[4, 16\], the manifest says"):
        OnnxEngine.open(path, graph, OnnxOptions())


@pytest.mark.parametrize("content", [b"", b"\x00" * 64, b"not a graph", b"\x08\xff"])
def test_a_broken_file_is_refused(graph_file: tuple[Path, manifest_pb2.Graph], content: bytes) -> None:
    path, graph = graph_file
    path.write_bytes(content)
    with pytest.raises(EngineError, match=r"graphs/generator\.onnx cannot be opened"):
        OnnxEngine.open(path, graph, OnnxOptions())


def test_a_truncated_file_is_refused(graph_file: tuple[Path, manifest_pb2.Graph]) -> None:
    path, graph = graph_file
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(EngineError, match="cannot be opened"):
        OnnxEngine.open(path, graph, OnnxOptions())


def test_an_opset_that_this_onnxruntime_does_not_know_is_refused(graph_file: tuple[Path, manifest_pb2.Graph]) -> None:
    path, graph = graph_file
    model = onnx.load(path)
    model.opset_import[0].version = graph.opset = 999
    onnx.save(model, path)
    with pytest.raises(EngineError, match=r"cannot be opened.*opset"):
        OnnxEngine.open(path, graph, OnnxOptions())


def test_two_graphs_of_a_bundle_open(tmp_path: Path) -> None:
    folder = loop_bundle(tmp_path)
    for graph in read_bundle(folder).manifest.graphs:
        OnnxEngine.open(folder / graph.onnx_file, graph, OnnxOptions(threads=1)).close()


@pytest.mark.skipif("CUDAExecutionProvider" in ort.get_available_providers(), reason="this onnxruntime has CUDA")
def test_a_device_that_is_not_there_says_what_is(graph_file: tuple[Path, manifest_pb2.Graph]) -> None:
    with pytest.raises(EngineError, match=r"device is 'cuda', but.*CPUExecutionProvider.*muserve\[server-gpu\]"):
        OnnxEngine.open(*graph_file, OnnxOptions(device="cuda"))


def test_onnxruntime_writes_and_reports_nothing_about_its_use(
    graph_file: tuple[Path, manifest_pb2.Graph], tmp_path: Path
) -> None:
    home = tmp_path / "home"
    home.mkdir()
    program = (
        "import sys; from muserve_server.engine import OnnxEngine; import onnxruntime; "
        "onnxruntime.InferenceSession(sys.argv[1])"
    )
    # CI alone would make it quiet too.
    environ = {key: value for key, value in os.environ.items() if key not in ("CI", "ORT_DISABLE_TELEMETRY")}
    command = [sys.executable, "-c", program, str(graph_file[0])]
    subprocess.run(command, check=True, env=environ | {"HOME": str(home)}, timeout=200)
    assert list(home.iterdir()) == []
