"""Checks of manifests that several tasks share: the graphs that settings name, and the tensors that these must have."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muserve.bundle import Bundle, ManifestError
from muserve.v1 import manifest_pb2

__all__ = ["FLOAT32", "INT64", "Specs", "check_tensors", "find_graph", "specs_of"]

FLOAT32, INT64 = manifest_pb2.DATA_TYPE_FLOAT32, manifest_pb2.DATA_TYPE_INT64

Specs = Mapping[str, tuple[int, Sequence[int]]]
"""Tensors by name: element type, and shape with -1 for dynamic sizes."""


def find_graph(bundle: Bundle, field: str, role: str) -> manifest_pb2.Graph:
    """Returns the graph of a role.

    Args:
        bundle: The bundle.
        field: The settings' field that names the role: "image.graph".
        role: The role.

    Raises:
        ManifestError: The bundle has no such graph.
    """
    for graph in bundle.manifest.graphs:
        if graph.role == role:
            return graph
    raise ManifestError(f"{bundle}: {field} is {role!r}, which is not a graph of the bundle")


def specs_of(tensors: Sequence[manifest_pb2.TensorSpec]) -> dict[str, tuple[int, list[int]]]:
    """Returns the inputs or the outputs of a graph by name."""
    return {spec.name: (spec.dtype, list(spec.shape)) for spec in tensors}


def check_tensors(bundle: Bundle, graph: manifest_pb2.Graph, side: str, needed: Specs) -> None:
    """Checks that a graph has exactly the tensors that the settings need.

    Args:
        bundle: The bundle.
        graph: One of its graphs.
        side: "inputs" or "outputs".
        needed: The tensors.

    Raises:
        ManifestError: It has others.
    """
    actual = specs_of(graph.inputs if side == "inputs" else graph.outputs)
    expected = {name: (dtype, list(shape)) for name, (dtype, shape) in needed.items()}
    if actual != expected:
        raise ManifestError(
            f"{bundle}: the settings need the {side} {_text(expected)} of graph {graph.role!r}; it has {_text(actual)}"
        )


def _text(specs: Specs) -> str:
    names = {number: name.removeprefix("DATA_TYPE_").lower() for name, number in manifest_pb2.DataType.items()}
    return (
        ", ".join(f"{name} {names.get(dtype, '?')} {list(shape)}" for name, (dtype, shape) in specs.items()) or "none"
    )
