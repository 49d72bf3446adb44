"""Tiny real bundles for tests: ONNX graphs made by hand, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from muserve.bundle import Bundle, write_manifest
from muserve.v1 import common_pb2, image_pb2, manifest_pb2
from muserve_server.local import LocalModel

FLOAT32, INT64 = manifest_pb2.DATA_TYPE_FLOAT32, manifest_pb2.DATA_TYPE_INT64
LATENT_SIZE, HEIGHT, WIDTH = 16, 8, 6
OPSET = 20
LOOP_STEPS = 10


def image_bundle(
    root: Path, name: str = "shapes", version: int = 1, *, labels: tuple[str, ...] = (), weights_seed: int = 0
) -> Path:
    """Writes an image bundle of one dense layer under root/<name>/<version>; with labels it is conditional."""
    folder = root / name / str(version)
    (folder / "graphs").mkdir(parents=True)
    random = np.random.default_rng(weights_seed)
    weights = random.standard_normal((LATENT_SIZE, HEIGHT * WIDTH)).astype(np.float32) / 4
    styles = random.standard_normal((max(1, len(labels)), HEIGHT * WIDTH)).astype(np.float32)
    nodes = [
        helper.make_node("Unsqueeze", ["truncation", "one"], ["scale"]),
        helper.make_node("Mul", ["latent", "scale"], ["scaled"]),
        helper.make_node("MatMul", ["scaled", "weights"], ["dense"]),
    ]
    inputs = [("latent", FLOAT32, [LATENT_SIZE]), ("truncation", FLOAT32, [])]
    last = "dense"
    if labels:
        inputs.append(("label", INT64, []))
        nodes += [
            helper.make_node("Gather", ["styles", "label"], ["style"]),
            helper.make_node("Add", ["dense", "style"], ["styled"]),
        ]
        last = "styled"
    nodes += [
        helper.make_node("Tanh", [last], ["flat"]),
        helper.make_node("Reshape", ["flat", "shape"], ["image"]),
    ]
    constants: dict[str, NDArray[Any]] = {
        "weights": weights,
        "one": np.array([1], np.int64),
        "shape": np.array([-1, 1, HEIGHT, WIDTH], np.int64),
    }
    if labels:
        constants["styles"] = styles
    graph = write_graph(
        folder, "generator", nodes, inputs, [("image", FLOAT32, [1, HEIGHT, WIDTH])], constants, max_batch_rows=32
    )
    manifest = manifest_pb2.ModelManifest(
        name=name,
        version=version,
        task=common_pb2.TASK_IMAGE,
        description="A dense layer with random weights.",
        graphs=[graph],
        licence="Apache-2.0",
        image=manifest_pb2.ImageSettings(
            graph="generator", latent_input="latent", latent_size=LATENT_SIZE, image_output="image", height=HEIGHT,
            width=WIDTH, channels=1, black=-1, white=1, labels=labels, label_input="label" if labels else "",
            truncation_input="truncation",
        ),
    )  # fmt: skip
    write_manifest(folder, manifest, optional=frozenset())
    return folder


def loop_bundle(root: Path, name: str = "loop", version: int = 1) -> Path:
    """Writes a bundle of two graphs, "step" and "mix", for a task that infers many times; see `tests.e2e.scenarios`.

    An index of LOOP_STEPS or more makes a run of "step" fail, as a row that passed validation but not the graph would.
    """
    folder = root / name / str(version)
    (folder / "graphs").mkdir(parents=True)
    random = np.random.default_rng(0)
    size = [LATENT_SIZE]
    weights = random.standard_normal((LATENT_SIZE, LATENT_SIZE)).astype(np.float32)
    table = random.standard_normal((LOOP_STEPS, LATENT_SIZE)).astype(np.float32)
    step = write_graph(
        folder,
        "step",
        [
            helper.make_node("Gather", ["table", "index"], ["bias"]),
            helper.make_node("MatMul", ["state", "weights"], ["dense"]),
            helper.make_node("Add", ["dense", "bias"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["next"]),
        ],
        [("state", FLOAT32, size), ("index", INT64, [])],
        [("next", FLOAT32, size)],
        {"weights": weights, "table": table},
        max_batch_rows=16,
    )
    mix = write_graph(
        folder,
        "mix",
        [helper.make_node("Softmax", ["state"], ["next"])],
        [("state", FLOAT32, size)],
        [("next", FLOAT32, size)],
        {},
        max_batch_rows=16,
    )
    manifest = manifest_pb2.ModelManifest(
        name=name,
        version=version,
        task=common_pb2.TASK_IMAGE,
        description="Two graphs with random weights, called in turns.",
        graphs=[step, mix],
        licence="Apache-2.0",
    )
    write_manifest(folder, manifest, optional=frozenset())
    return folder


def write_graph(
    folder: Path,
    role: str,
    nodes: list[onnx.NodeProto],
    inputs: list[tuple[str, manifest_pb2.DataType, list[int]]],
    outputs: list[tuple[str, manifest_pb2.DataType, list[int]]],
    constants: dict[str, NDArray[Any]],
    *,
    max_batch_rows: int,
) -> manifest_pb2.Graph:
    """Writes graphs/<role>.onnx and returns its manifest entry. Shapes are given without the batch."""
    onnx_types = {FLOAT32: TensorProto.FLOAT, INT64: TensorProto.INT64}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            role,
            [helper.make_tensor_value_info(name, onnx_types[kind], ["batch", *shape]) for name, kind, shape in inputs],
            [helper.make_tensor_value_info(name, onnx_types[kind], ["batch", *shape]) for name, kind, shape in outputs],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", OPSET)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    path = folder / "graphs" / f"{role}.onnx"
    onnx.save(model, path)
    return manifest_pb2.Graph(
        role=role,
        onnx_file=f"graphs/{role}.onnx",
        inputs=[manifest_pb2.TensorSpec(name=n, dtype=k, shape=[-1, *s]) for n, k, s in inputs],
        outputs=[manifest_pb2.TensorSpec(name=n, dtype=k, shape=[-1, *s]) for n, k, s in outputs],
        opset=OPSET,
        max_batch_rows=max_batch_rows,
    )


async def add_golden(folder: Path, request: image_pb2.GenerateImagesRequest, *, tolerance: float = 1e-5) -> Bundle:
    """Records a request of a bundle and writes it into its manifest."""
    async with await LocalModel.open(folder) as model:
        tensors = await model.record(request)
        manifest = model.bundle.manifest
    (folder / "goldens").mkdir(exist_ok=True)
    np.savez(folder / "goldens/one.npz", **tensors)  # type: ignore[arg-type]
    golden = manifest_pb2.GoldenRequest(
        name="one", file="goldens/one.npz", tolerance=tolerance, generate_images=request
    )
    manifest.goldens.append(golden)
    return write_manifest(folder, manifest, optional=frozenset())
