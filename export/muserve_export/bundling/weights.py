"""How a bundle's ONNX files are kept small: weights once for all graphs, in half the bytes where nothing is lost.

And without what torch's exporter notes of the code that a node comes from, which is a large part of a small file and
names folders of the machine.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import helper, numpy_helper

__all__ = ["SHARED_FILE", "store_weights"]

SHARED_FILE = "shared.weights"
"""Beside the graphs, which refer to it as ONNX's external data."""
_FEWEST_BYTES = 4096
"""Smaller tensors are left where they are."""
_ALIGNMENT = 64


def store_weights(paths: Sequence[Path]) -> None:
    """Writes ONNX files of one folder again, smaller; what they compute stays the same to the bit.

    Weights that 16-bit floats hold exactly are kept as such, with a cast that onnxruntime does as it loads. Those that
    several graphs have are kept once, in a file beside them.

    Args:
        paths: The files, with their weights inside.
    """
    models = [onnx.load(path) for path in paths]
    for model in models:
        _forget_code(model)
        _halve(model.graph)
    shared = _share(models)
    if shared:
        (paths[0].parent / SHARED_FILE).write_bytes(shared)
    for path, model in zip(paths, models, strict=True):
        onnx.save(model, path)


def _forget_code(model: onnx.ModelProto) -> None:
    graph = model.graph
    for part in (model, graph, *graph.node, *graph.initializer, *graph.input, *graph.output, *graph.value_info):
        part.ClearField("metadata_props")
        part.ClearField("doc_string")


def _halve(graph: onnx.GraphProto) -> None:
    casts = []
    for tensor in graph.initializer:
        if tensor.data_type != onnx.TensorProto.FLOAT or tensor.ByteSize() < _FEWEST_BYTES:
            continue
        values = numpy_helper.to_array(tensor)
        half = _as_half(values)
        if half.astype(np.float32).tobytes() != values.tobytes():
            continue
        name = tensor.name
        tensor.CopyFrom(numpy_helper.from_array(half, f"{name}.half"))
        casts.append(helper.make_node("Cast", [tensor.name], [name], name=f"{name}.cast", to=onnx.TensorProto.FLOAT))
    nodes = [*casts, *graph.node]
    del graph.node[:]
    graph.node.extend(nodes)


def _as_half(values: NDArray[np.float32]) -> NDArray[np.float16]:
    with np.errstate(over="ignore"):
        return values.astype(np.float16)


def _share(models: Sequence[onnx.ModelProto]) -> bytes:
    """Moves the weights that several graphs have out of them; returns what belongs into `SHARED_FILE`."""
    large = [
        [tensor for tensor in model.graph.initializer if len(tensor.raw_data) >= _FEWEST_BYTES] for model in models
    ]
    graphs = Counter(content for tensors in large for content in {tensor.raw_data for tensor in tensors})
    offsets: dict[bytes, int] = {}
    kept = bytearray()
    for tensor in (tensor for tensors in large for tensor in tensors if graphs[tensor.raw_data] > 1):
        content = tensor.raw_data
        if content not in offsets:
            kept.extend(bytes(-len(kept) % _ALIGNMENT))
            offsets[content] = len(kept)
            kept.extend(content)
        place = {"location": SHARED_FILE, "offset": offsets[content], "length": len(content)}
        tensor.ClearField("raw_data")
        tensor.data_location = onnx.TensorProto.EXTERNAL
        for key, value in place.items():
            tensor.external_data.add(key=key, value=str(value))
    return bytes(kept)
