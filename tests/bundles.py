"""Tiny real bundles for tests: ONNX graphs made by hand, without torch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from google.protobuf.message import Message
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from muserve.bundle import Bundle, read_bundle, write_manifest
from muserve.v1 import common_pb2, forecast_pb2, manifest_pb2
from muserve_server.model import LocalModel, LocalOptions
from muserve_server.tasks.forecast.windows import CHANNELS, STATIC_FEATURES

FLOAT32, INT64 = manifest_pb2.DATA_TYPE_FLOAT32, manifest_pb2.DATA_TYPE_INT64
LATENT_SIZE, HEIGHT, WIDTH = 16, 8, 6
WINDOW_STEPS, HORIZON_STEPS, MAX_HORIZON, MIN_POINTS = 24, 6, 30, 3
LEVELS = (0.05, 0.1, 0.5, 0.9, 0.95)
YEARLY, QUARTERLY, MONTHLY = (
    forecast_pb2.FREQUENCY_YEARLY, forecast_pb2.FREQUENCY_QUARTERLY, forecast_pb2.FREQUENCY_MONTHLY,
)  # fmt: skip
WEEKLY, DAILY, HOURLY = forecast_pb2.FREQUENCY_WEEKLY, forecast_pb2.FREQUENCY_DAILY, forecast_pb2.FREQUENCY_HOURLY
OTHER = forecast_pb2.FREQUENCY_OTHER
FREQUENCIES = {
    YEARLY: ((), 12, 3),
    QUARTERLY: ((4,), 24, 4),
    MONTHLY: ((12,), 48, 6),
    WEEKLY: ((52,), 104, 2),
    DAILY: ((7,), 28, 6),
    HOURLY: ((24,), 48, 0),
    OTHER: ((), 24, 5),
}
"""What the forecast bundle knows: periods, context and horizon. Hours it never saw; weeks are experimental."""
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
    settings = manifest_pb2.ImageSettings(
        graph="generator", latent_input="latent", latent_size=LATENT_SIZE, image_output="image", height=HEIGHT,
        width=WIDTH, channels=1, black=-1, white=1, labels=labels, label_input="label" if labels else "",
        truncation_input="truncation",
    )  # fmt: skip
    return describe_bundle(
        folder, [graph], "A dense layer with random weights.", task=common_pb2.TASK_IMAGE, image=settings
    )


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
    return describe_bundle(
        folder, [step, mix], "Two graphs with random weights, called in turns.", task=common_pb2.TASK_IMAGE
    )


def forecast_bundle(root: Path, name: str = "series", version: int = 1) -> Path:
    """Writes a forecast bundle of one dense layer with rising quantiles, for series of FREQUENCIES on any scale."""
    folder = root / name / str(version)
    (folder / "graphs").mkdir(parents=True)
    random = np.random.default_rng(0)
    facts = STATIC_FEATURES + len(FREQUENCIES)
    steps = np.sqrt(np.arange(1, HORIZON_STEPS + 1))
    distances = np.array([-2.0, -1.0, 0.0, 1.5, 3.0])
    graph = write_graph(
        folder,
        "forecaster",
        [
            helper.make_node("Reshape", ["window", "flat_shape"], ["flat"]),
            helper.make_node("MatMul", ["flat", "past_weights"], ["past"]),
            helper.make_node("MatMul", ["facts", "fact_weights"], ["whole"]),
            helper.make_node("Add", ["past", "whole"], ["sum"]),
            helper.make_node("Tanh", ["sum"], ["median"]),
            helper.make_node("Unsqueeze", ["median", "last"], ["medians"]),
            helper.make_node("Add", ["medians", "distances"], ["forecast"]),
        ],
        [("window", FLOAT32, [WINDOW_STEPS, CHANNELS]), ("facts", FLOAT32, [facts])],
        [("forecast", FLOAT32, [HORIZON_STEPS, len(LEVELS)])],
        {
            "flat_shape": np.array([-1, WINDOW_STEPS * CHANNELS], np.int64),
            "past_weights": random.standard_normal((WINDOW_STEPS * CHANNELS, HORIZON_STEPS)).astype(np.float32) / 9,
            "fact_weights": random.standard_normal((facts, HORIZON_STEPS)).astype(np.float32) / 4,
            "last": np.array([2], np.int64),
            "distances": (steps[:, None] * distances).astype(np.float32)[None],
        },
        max_batch_rows=32,
    )
    settings = manifest_pb2.ForecastSettings(
        graph="forecaster", scaling=manifest_pb2.FORECAST_SCALING_RELATIVE, window_steps=WINDOW_STEPS,
        horizon_steps=HORIZON_STEPS, quantiles=LEVELS, max_horizon=MAX_HORIZON, min_points=MIN_POINTS,
    )  # fmt: skip
    for frequency, (periods, context_steps, horizon_steps) in FREQUENCIES.items():
        settings.frequencies.add(
            frequency=frequency,
            periods=periods,
            context_steps=context_steps,
            horizon_steps=horizon_steps,
            experimental=frequency == WEEKLY,
            spread=0.5 if frequency == QUARTERLY else 1.0,
        )
    return describe_bundle(
        folder,
        [graph],
        task=common_pb2.TASK_FORECAST,
        forecast=settings,
        description="A dense layer with random weights.",
    )


def next_value_bundle(root: Path, name: str = "next", version: int = 1) -> Path:
    """Writes a forecast bundle without scaling or quantiles: each value goes on by half of the last change."""
    folder = root / name / str(version)
    (folder / "graphs").mkdir(parents=True)
    weights = np.zeros((1, WINDOW_STEPS), np.float32)
    weights[0, -2:] = -0.5, 1.5
    graph = write_graph(
        folder,
        "forecaster",
        [helper.make_node("MatMul", ["weights", "window"], ["forecast"])],
        [("window", FLOAT32, [WINDOW_STEPS, 1])],
        [("forecast", FLOAT32, [1, 1])],
        {"weights": weights[None]},
        max_batch_rows=32,
    )
    settings = manifest_pb2.ForecastSettings(
        graph="forecaster", scaling=manifest_pb2.FORECAST_SCALING_NONE, window_steps=WINDOW_STEPS, horizon_steps=1,
        max_horizon=MAX_HORIZON, min_points=2,
    )  # fmt: skip
    settings.frequencies.add(frequency=OTHER, context_steps=2 * WINDOW_STEPS, horizon_steps=1, spread=1)
    return describe_bundle(
        folder,
        [graph],
        task=common_pb2.TASK_FORECAST,
        forecast=settings,
        description="The last value and half of the last change.",
    )


def edit_manifest(folder: Path, edit: Callable[[manifest_pb2.ModelManifest], object]) -> Path:
    """Edits the manifest of a bundle as an exporter could have written it."""
    manifest = read_bundle(folder).manifest
    edit(manifest)
    write_manifest(folder, manifest, optional=frozenset())
    return folder


def describe_bundle(folder: Path, graphs: list[manifest_pb2.Graph], description: str, **fields: Any) -> Path:
    """Writes the manifest of a bundle whose graphs are there: <name>/<version>; the rest of it is given by fields."""
    manifest = manifest_pb2.ModelManifest(
        name=folder.parent.name,
        version=int(folder.name),
        description=description,
        graphs=graphs,
        licence="Apache-2.0",
        **fields,
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
    """Writes graphs/<role>.onnx and returns its manifest entry. Shapes are given without the batch; -1 is free."""
    onnx_types = {FLOAT32: TensorProto.FLOAT, INT64: TensorProto.INT64}
    model = helper.make_model(
        helper.make_graph(
            nodes,
            role,
            [helper.make_tensor_value_info(name, onnx_types[kind], _free(shape)) for name, kind, shape in inputs],
            [helper.make_tensor_value_info(name, onnx_types[kind], _free(shape)) for name, kind, shape in outputs],
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


def _free(shape: list[int]) -> list[str | int | None]:
    return ["batch", *(None if size < 0 else size for size in shape)]


async def add_golden(
    folder: Path, request: Message, *, tolerance: float = 1e-5, options: LocalOptions | None = None
) -> Bundle:
    """Records a request of a bundle and writes it into its manifest."""
    async with await LocalModel.open(folder, options) as model:
        tensors = await model.record(request)
        manifest = model.bundle.manifest
    (folder / "goldens").mkdir(exist_ok=True)
    np.savez(folder / "goldens/one.npz", **tensors)  # type: ignore[arg-type]
    golden = manifest.goldens.add(name="one", file="goldens/one.npz", tolerance=tolerance)
    kinds = {field.message_type: field.name for field in golden.DESCRIPTOR.oneofs_by_name["request"].fields}
    if request.DESCRIPTOR in kinds:
        getattr(golden, kinds[request.DESCRIPTOR]).CopyFrom(request)
    else:
        golden.custom.Pack(request)
    return write_manifest(folder, manifest, optional=frozenset())
