"""An engine on onnxruntime. The only module that knows onnxruntime."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

# onnxruntime reports usage to its maker unless told not to, and reads this when it is imported.
os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")

import onnxruntime as ort
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_server.engine.engine import EngineError

__all__ = ["OnnxEngine", "OnnxOptions"]

_ONNX_TYPES = {
    manifest_pb2.DATA_TYPE_FLOAT32: "tensor(float)",
    manifest_pb2.DATA_TYPE_INT64: "tensor(int64)",
    manifest_pb2.DATA_TYPE_INT32: "tensor(int32)",
    manifest_pb2.DATA_TYPE_BOOL: "tensor(bool)",
    manifest_pb2.DATA_TYPE_UINT8: "tensor(uint8)",
}


@dataclass(frozen=True)
class OnnxOptions:
    """How onnxruntime runs a graph."""

    device: str = "cpu"
    """"cpu" or "cuda"."""
    threads: int = 0
    """Threads of one run; 0 takes one a core."""

    def threads_of(self, graph: manifest_pb2.Graph) -> int:
        """Threads of a run of a graph: no more than it gains from; 0 for one a core."""
        if not graph.max_threads:
            return self.threads
        return min(graph.max_threads, self.threads or os.cpu_count() or 1)

    def providers(self) -> list[str]:
        """Returns the execution providers in order of preference.

        Raises:
            EngineError: The installed onnxruntime has no provider for the device.
        """
        if self.device == "cpu":
            return ["CPUExecutionProvider"]
        if "CUDAExecutionProvider" not in ort.get_available_providers():
            raise EngineError(
                f"device is 'cuda', but this onnxruntime offers only {ort.get_available_providers()}; "
                "install muserve[server-gpu] and CUDA, or set the device to 'cpu'"
            )
        return ["CUDAExecutionProvider", "CPUExecutionProvider"]


class OnnxEngine:
    """One onnxruntime session of one graph."""

    def __init__(self, session: ort.InferenceSession, outputs: Sequence[str]) -> None:
        self._session: ort.InferenceSession | None = session
        self._outputs = list(outputs)

    @classmethod
    def open(cls, path: Path, graph: manifest_pb2.Graph, options: OnnxOptions) -> OnnxEngine:
        """Opens a graph and proves that it has the signature that the manifest names. Blocks; takes a while.

        Raises:
            EngineError: The file is no graph that this onnxruntime can run, or its signature is another.
        """
        providers = options.providers()
        settings = ort.SessionOptions()
        settings.intra_op_num_threads = options.threads_of(graph)
        settings.inter_op_num_threads = 1
        settings.log_severity_level = 3
        # Spinning threads would take the core from the event loop between two batches.
        settings.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            session = ort.InferenceSession(path, settings, providers=providers)
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise EngineError(f"{graph.onnx_file} cannot be opened: {error}") from error
        if session.get_providers()[0] != providers[0]:  # onnxruntime falls back without an error
            raise EngineError(f"{graph.onnx_file}: {providers[0]} cannot be used here; see onnxruntime's log above")
        _check_signature(graph, "input", graph.inputs, session.get_inputs())
        _check_signature(graph, "output", graph.outputs, session.get_outputs())
        return cls(session, [spec.name for spec in graph.outputs])

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs a batch; see `Engine.run`."""
        if self._session is None:
            raise EngineError("the engine is closed")
        try:
            values = self._session.run(self._outputs, dict(inputs))
        except Exception as error:  # onnxruntime's exceptions share no base below Exception
            raise EngineError(str(error)) from error
        return dict(zip(self._outputs, values, strict=True))

    def close(self) -> None:
        """Drops the session; onnxruntime frees it with its last reference."""
        self._session = None


def _check_signature(
    graph: manifest_pb2.Graph, side: str, expected: Sequence[manifest_pb2.TensorSpec], found: Sequence[ort.NodeArg]
) -> None:
    by_name = {arg.name: arg for arg in found}
    names = [spec.name for spec in expected]
    if set(names) != set(by_name):
        raise EngineError(f"{graph.onnx_file} has the {side}s {sorted(by_name)}, the manifest names {sorted(names)}")
    for spec in expected:
        if not spec.shape or spec.shape[0] != -1:
            raise EngineError(
                f"{graph.onnx_file}: {side} {spec.name!r} is {list(spec.shape)}; the batch, -1, comes first"
            )
        arg = by_name[spec.name]
        shape = [size if isinstance(size, int) else -1 for size in arg.shape]
        if arg.type != _ONNX_TYPES.get(spec.dtype) or shape != list(spec.shape):
            raise EngineError(
                f"{graph.onnx_file}: {side} {spec.name!r} is {arg.type} {shape}, the manifest says "
                f"{_ONNX_TYPES.get(spec.dtype)} {list(spec.shape)}"
            )
