"""Torch modules to ONNX and TorchScript, with proof that all three compute the same."""

from __future__ import annotations

import logging
import platform
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muserve.v1 import manifest_pb2
from muserve_export.bundling.lstm import with_onnx_lstms
from muserve_export.bundling.weights import store_weights
from muserve_export.errors import ParityError
from muserve_server.engine import OnnxEngine, OnnxOptions

__all__ = ["GraphSource", "load_torchscript", "tensor_spec", "write_graphs"]

OPSET = 20
_INVARIANCE_SIZES = (1, 2, 3, 5, 8, 16, 32, 64)
_LENGTHS_TRIED = 24
"""Draws of a graph that takes rows of several lengths."""
_FEWEST_ROWS = 3
"""Measured even of graphs that are to take fewer: whoever runs the file may give it more."""


@dataclass(frozen=True)
class GraphSource:
    """A trained module on its way to becoming a graph of a bundle."""

    role: str
    """Name by which the task calls it."""
    module: nn.Module
    """In evaluation mode, on the CPU; takes the inputs in order."""
    inputs: tuple[manifest_pb2.TensorSpec, ...]
    """In order; -1 where a size is free, the batch first."""
    outputs: tuple[manifest_pb2.TensorSpec, ...]
    """In order."""
    draw: Callable[[int, np.random.Generator], tuple[NDArray[Any], ...]]
    """draw(rows, random): typical inputs, to compare the three forms on."""
    max_batch_rows: int = 64
    """Most rows that are worth putting into one run."""
    max_threads: int = 0
    """Most threads that are worth giving to one run; 0 for all."""
    tolerance: float = 1e-5
    """Largest absolute difference allowed between the three forms."""


def tensor_spec(
    name: str, shape: Sequence[int], unit: str, dtype: manifest_pb2.DataType = manifest_pb2.DATA_TYPE_FLOAT32
) -> manifest_pb2.TensorSpec:
    """Describes a graph's input or output.

    Args:
        name: Its name.
        shape: Of one row; -1 where a size is free. The batch is added in front.
        unit: What its values are: "standard normal".
        dtype: Type of its values.
    """
    return manifest_pb2.TensorSpec(name=name, dtype=dtype, shape=[-1, *shape], unit=unit)


def write_graphs(sources: Sequence[GraphSource], folder: Path) -> list[manifest_pb2.Graph]:
    """Writes graphs/<role>.onnx and graphs/<role>.ts of each graph and proves them.

    Args:
        sources: What to write.
        folder: The bundle's folder.

    Returns:
        The graphs' entries in the manifest, with measured parity and batch invariance.

    Raises:
        ParityError: One of the forms computes something else than torch does.
    """
    (folder / "graphs").mkdir(parents=True, exist_ok=True)
    graphs = [_describe(source) for source in sources]
    scripts = []
    for source, graph in zip(sources, graphs, strict=True):
        # Sizes of one are taken for constants by the exporter, so the example has two rows.
        example = tuple(torch.from_numpy(value) for value in source.draw(2, np.random.default_rng(0)))
        _write_onnx(source, example, folder / graph.onnx_file)
        scripts.append(_write_torchscript(source, example, folder / graph.torchscript_file))
    store_weights([folder / graph.onnx_file for graph in graphs])
    for source, graph, script in zip(sources, graphs, scripts, strict=True):
        engine = OnnxEngine.open(folder / graph.onnx_file, graph, OnnxOptions())
        try:
            graph.parity.CopyFrom(_measure_parity(source, script, engine))
            graph.batch_invariance.CopyFrom(_measure_invariance(source, engine))
        finally:
            engine.close()
    return graphs


def _describe(source: GraphSource) -> manifest_pb2.Graph:
    return manifest_pb2.Graph(
        role=source.role,
        onnx_file=f"graphs/{source.role}.onnx",
        torchscript_file=f"graphs/{source.role}.ts",
        inputs=source.inputs,
        outputs=source.outputs,
        opset=OPSET,
        max_batch_rows=source.max_batch_rows,
        max_threads=source.max_threads,
    )


def _write_onnx(source: GraphSource, example: tuple[Tensor, ...], path: Path) -> None:
    batch = torch.export.Dim("batch")
    # Free sizes may belong together, as the lengths of tokens and of what they mean: the exporter finds that out. One
    # that it takes for a constant is not what the manifest says, so that opening the file fails.
    shapes = tuple(
        {axis: batch if axis == 0 else torch.export.Dim.AUTO for axis, size in enumerate(spec.shape) if size == -1}
        for spec in source.inputs
    )
    with _quiet_exporter():
        torch.onnx.export(
            with_onnx_lstms(source.module),
            example,
            path,
            dynamo=True,
            opset_version=OPSET,
            dynamic_shapes=shapes,
            input_names=[spec.name for spec in source.inputs],
            output_names=[spec.name for spec in source.outputs],
            external_data=False,
            verbose=False,
        )


def _write_torchscript(source: GraphSource, example: tuple[Tensor, ...], path: Path) -> torch.jit.ScriptModule:
    with _allow_torchscript(), torch.no_grad():
        script: torch.jit.ScriptModule = torch.jit.trace(source.module, example)
        script.save(path)
    return load_torchscript(path)


def load_torchscript(path: Path) -> torch.jit.ScriptModule:
    """Opens a graph's TorchScript file, which takes sizes that the ONNX file may not."""
    with _allow_torchscript():
        loaded: torch.jit.ScriptModule = torch.jit.load(path)
    return loaded


def _measure_parity(source: GraphSource, script: torch.jit.ScriptModule, engine: OnnxEngine) -> manifest_pb2.Parity:
    sizes = sorted({1, _FEWEST_ROWS, source.max_batch_rows})
    parity = manifest_pb2.Parity(tolerance=source.tolerance, batch_sizes=sizes)
    for size in sizes:
        inputs = source.draw(size, np.random.default_rng(size))
        wanted = _run_torch(source, source.module, inputs)
        parity.torchscript_max_abs_diff = max(
            parity.torchscript_max_abs_diff, _difference(_run_torch(source, script, inputs), wanted)
        )
        parity.onnx_max_abs_diff = max(
            parity.onnx_max_abs_diff, _difference(engine.run(_named(source, inputs)), wanted)
        )
    for form, found in (("TorchScript", parity.torchscript_max_abs_diff), ("ONNX", parity.onnx_max_abs_diff)):
        if not found <= source.tolerance:
            raise ParityError(
                f"graph {source.role!r}: {form} differs from torch by {found:.3g}; allowed: {source.tolerance:.3g}. "
                "Export with this torch and onnx version cannot be trusted for this module"
            )
    return parity


def _measure_invariance(source: GraphSource, engine: OnnxEngine) -> manifest_pb2.BatchInvariance:
    """Compares each row of each batch size, bit by bit, with the same row run alone."""
    most = max(source.max_batch_rows, _FEWEST_ROWS)
    sizes = sorted({most, *(size for size in _INVARIANCE_SIZES if size <= most)})
    exact, largest = True, 0.0
    has_lengths = any(size == -1 for spec in source.inputs for size in spec.shape[1:])
    for seed in range(1, 1 + (_LENGTHS_TRIED if has_lengths else 1)):
        inputs = _named(source, source.draw(most, np.random.default_rng(seed)))
        alone = [engine.run({name: value[row : row + 1] for name, value in inputs.items()}) for row in range(most)]
        for size in sizes:
            outputs = engine.run({name: value[:size] for name, value in inputs.items()})
            for row in range(size):
                for name, value in outputs.items():
                    exact &= value[row].tobytes() == alone[row][name][0].tobytes()
                    largest = max(largest, _difference({name: value[row]}, {name: alone[row][name][0]}))
    return manifest_pb2.BatchInvariance(
        exact=exact,
        batch_sizes=sizes,
        max_abs_diff=largest,
        measured_on=f"CPUExecutionProvider, {platform.machine()}, {torch.backends.cpu.get_cpu_capability()}",
    )


def _run_torch(
    source: GraphSource, module: Callable[..., Any], inputs: Sequence[NDArray[Any]]
) -> dict[str, NDArray[Any]]:
    with torch.no_grad():
        outputs = module(*(torch.from_numpy(value) for value in inputs))
    outputs = outputs if isinstance(outputs, tuple) else (outputs,)
    return {spec.name: value.numpy() for spec, value in zip(source.outputs, outputs, strict=True)}


def _named(source: GraphSource, inputs: Sequence[NDArray[Any]]) -> dict[str, NDArray[Any]]:
    return {spec.name: value for spec, value in zip(source.inputs, inputs, strict=True)}


def _difference(found: Mapping[str, NDArray[Any]], wanted: Mapping[str, NDArray[Any]]) -> float:
    largest = 0.0
    for name, value in wanted.items():
        if found[name].shape != value.shape:
            return float("inf")
        # NaN must count as a difference, and max() would drop it.
        difference = np.abs(found[name].astype(np.float64) - value.astype(np.float64))
        largest = max(largest, float("inf") if np.isnan(difference).any() else float(difference.max(initial=0.0)))
    return largest


@contextmanager
def _allow_torchscript() -> Iterator[None]:
    """Silences exactly the warnings that TorchScript is deprecated: users in C++ still need it."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=r".*`?torch\.jit\.\w+`?.* is (deprecated|not supported)")
        # An LSTM compares batch sizes as it is traced; that other sizes work is proven by parity.
        warnings.filterwarnings(
            "ignore", message=r"Converting a tensor to a Python boolean", module=r"torch\.nn\.modules\.rnn"
        )
        yield


@contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Keeps the exporter's own notes, which are for its developers, out of users' terminals."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", category=FutureWarning)
            warnings.filterwarnings("ignore", category=DeprecationWarning)
            warnings.filterwarnings("ignore", message=r"The \.grad attribute of a Tensor that is not a leaf")
            # An LSTM's list of its own weights, which the exporter visits on its way.
            warnings.filterwarnings("ignore", message=r"The tensor attributes? .*_flat_weights", category=UserWarning)
            # That inputs share the batch is the point.
            warnings.filterwarnings("ignore", message=r"# The axis name: batch will not be used", category=UserWarning)
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
