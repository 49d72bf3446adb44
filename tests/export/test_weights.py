"""How ONNX files keep their weights: smaller, and computing the same to the bit."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime as ort
import pytest
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from muserve_export.bundling.weights import SHARED_FILE, store_weights

SIZE = 64
Floats = NDArray[np.float32]


def write(path: Path, *weights: Floats) -> None:
    """Writes a graph that multiplies by one matrix after the other."""
    names = [f"weight{index}" for index in range(len(weights))]
    values = ["rows", *(f"value{index}" for index in range(1, len(weights))), "result"]
    # As torch's exporter says where a node comes from.
    nodes = [
        helper.make_node("MatMul", [before, name], [after])
        for before, name, after in zip(values[:-1], names, values[1:], strict=True)
    ]
    nodes[0].metadata_props.add(key="stack", value=f"File {__file__}")
    graph = helper.make_graph(
        nodes,
        "product",
        [helper.make_tensor_value_info("rows", TensorProto.FLOAT, ["batch", SIZE])],
        [helper.make_tensor_value_info("result", TensorProto.FLOAT, ["batch", SIZE])],
        [numpy_helper.from_array(weight, name) for name, weight in zip(names, weights, strict=True)],
    )
    onnx.save(helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10), path)


def run(path: Path) -> bytes:
    rows = np.random.default_rng(9).standard_normal((3, SIZE), dtype=np.float32)
    (result,) = ort.InferenceSession(path, providers=["CPUExecutionProvider"]).run(None, {"rows": rows})
    return np.asarray(result).tobytes()


def drawn(seed: int) -> Floats:
    return np.random.default_rng(seed).standard_normal((SIZE, SIZE), dtype=np.float32)


def rounded(seed: int) -> Floats:
    return drawn(seed).astype(np.float16).astype(np.float32)


@pytest.fixture
def paths(tmp_path: Path) -> list[Path]:
    return [tmp_path / "one.onnx", tmp_path / "two.onnx"]


def test_graphs_keep_what_they_share_once_and_compute_the_same(paths: list[Path]) -> None:
    write(paths[0], rounded(1), rounded(2), drawn(3))
    write(paths[1], rounded(2), drawn(3))
    before = [run(path) for path in paths]
    store_weights(paths)
    assert [run(path) for path in paths] == before
    shared = (paths[0].parent / SHARED_FILE).stat().st_size
    assert shared == SIZE * SIZE * (2 + 4)  # one in halves, one as it was
    first, second = (path.stat().st_size for path in paths)
    assert SIZE * SIZE * 2 < first < SIZE * SIZE * 2 + 2000
    assert second < 2000


def test_graphs_that_share_nothing_stay_whole(paths: list[Path]) -> None:
    write(paths[0], drawn(1))
    write(paths[1], drawn(2))
    before = [run(path) for path in paths]
    store_weights(paths)
    assert [run(path) for path in paths] == before
    assert not (paths[0].parent / SHARED_FILE).exists()


def test_where_the_code_lies_is_not_told(paths: list[Path]) -> None:
    write(paths[0], drawn(1))
    assert __file__.encode() in paths[0].read_bytes()
    store_weights(paths[:1])
    assert __file__.encode() not in paths[0].read_bytes()


@pytest.mark.parametrize("value", [1e-9, 1e6, -0.0])
def test_what_half_floats_cannot_hold_stays_as_it_is(value: float, paths: list[Path]) -> None:
    weight = rounded(1)
    weight[5, 5] = value
    write(paths[0], weight)
    before = run(paths[0])
    store_weights(paths[:1])
    assert run(paths[0]) == before
    kinds = {tensor.data_type for tensor in onnx.load(paths[0]).graph.initializer}
    assert kinds == {TensorProto.FLOAT16 if value == 0 else TensorProto.FLOAT}
