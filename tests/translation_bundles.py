"""Tiny real translation bundles for tests: ONNX graphs made by hand, without torch."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper

from muserve.v1 import common_pb2, manifest_pb2
from tests.bundles import FLOAT32, describe_bundle, write_graph

__all__ = ["OVERLAP", "TILE_SIZE", "invert_bundle", "scene_bundle"]

TILE_SIZE, OVERLAP = 32, 12


def scene_bundle(
    root: Path, name: str = "scenes", version: int = 1, *, tile_size: int = TILE_SIZE, overlap: int = OVERLAP
) -> Path:
    """Writes a bundle that translates photo to map and back: convolutions with random weights, one of stride 2.

    It keeps what the image shows, and adds what the weights make of the neighbourhood. Its normalisation is a fixed
    scale, so that a pixel's value does not depend on the tile. Height and width are free: the graphs take whole images.
    """
    folder = root / name / str(version)
    (folder / "graphs").mkdir(parents=True)
    graphs = [_write_convolutions(folder, role, seed) for seed, role in enumerate(("a_to_b", "b_to_a"))]
    settings = manifest_pb2.TranslationSettings(
        image_input="image", image_output="translated", tile_size=tile_size, overlap=overlap, black=-1, white=1
    )
    settings.directions.add(source="photo", target="map", graph="a_to_b")
    settings.directions.add(source="map", target="photo", graph="b_to_a")
    return _write_manifest(folder, graphs, settings, "Convolutions with random weights.")


def invert_bundle(
    root: Path, name: str = "negatives", version: int = 1, *, tile_size: int = 16, overlap: int = 0
) -> Path:
    """Writes the least a translation bundle can have: one direction, positive to negative, of a fixed tile size."""
    folder = root / name / str(version)
    (folder / "graphs").mkdir(parents=True)
    shape = [3, tile_size, tile_size]
    graph = write_graph(
        folder,
        "invert",
        [helper.make_node("Sub", ["white", "x"], ["y"])],
        [("x", FLOAT32, shape)],
        [("y", FLOAT32, shape)],
        {"white": np.array([255.0], np.float32)},
        max_batch_rows=8,
    )
    settings = manifest_pb2.TranslationSettings(
        image_input="x", image_output="y", tile_size=tile_size, overlap=overlap, black=0, white=255
    )
    settings.directions.add(source="positive", target="negative", graph="invert")
    return _write_manifest(folder, [graph], settings, "255 minus the value.")


def _write_convolutions(folder: Path, role: str, seed: int) -> manifest_pb2.Graph:
    random = np.random.default_rng(seed)

    def weights(out: int, into: int, size: int) -> NDArray[np.float32]:
        scale = (2 / (into * size * size)) ** 0.5
        values: NDArray[np.float32] = (random.standard_normal((out, into, size, size)) * scale).astype(np.float32)
        return values

    constants: dict[str, NDArray[Any]] = {
        "first": weights(8, 3, 3),
        "down": weights(16, 8, 3),
        "middle": weights(16, 16, 3),
        "last": weights(3, 8, 3),
        "up": weights(16, 8, 2),
        "edge": np.array([0, 0, 1, 1, 0, 0, 1, 1], np.int64),
        "part": np.array([0.3], np.float32),
    }
    nodes: list[onnx.NodeProto] = [
        *_convolve("image", "first", "features"),
        *_convolve("features", "down", "small", strides=[2, 2]),
        *_convolve("small", "middle", "mixed"),
        helper.make_node("Add", ["small", "mixed"], ["residual"]),
        helper.make_node("ConvTranspose", ["residual", "up"], ["large"], strides=[2, 2]),
        *_convolve("large", "last", "change", is_last=True),
        helper.make_node("Mul", ["change", "part"], ["small_change"]),
        helper.make_node("Add", ["image", "small_change"], ["sum"]),
        helper.make_node("Tanh", ["sum"], ["translated"]),
    ]
    free = [3, -1, -1]
    return write_graph(
        folder, role, nodes, [("image", FLOAT32, free)], [("translated", FLOAT32, free)], constants, max_batch_rows=8
    )


def _convolve(given: str, weights: str, result: str, *, is_last: bool = False, **attributes: Any) -> list[Any]:
    """A convolution of 3 × 3 that sees the image go on by reflection at its edges."""
    padded, convolved = f"{weights}_padded", result if is_last else f"{weights}_convolved"
    nodes = [
        helper.make_node("Pad", [given, "edge"], [padded], mode="reflect"),
        helper.make_node("Conv", [padded, weights], [convolved], **attributes),
    ]
    return nodes if is_last else [*nodes, helper.make_node("Relu", [convolved], [result])]


def _write_manifest(
    folder: Path, graphs: list[manifest_pb2.Graph], settings: manifest_pb2.TranslationSettings, description: str
) -> Path:
    return describe_bundle(folder, graphs, description, task=common_pb2.TASK_TRANSLATION, translation=settings)
