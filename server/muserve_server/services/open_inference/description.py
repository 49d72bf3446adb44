"""What the server says of graphs: their tensors, and how they are run."""

from __future__ import annotations

from collections.abc import Iterable

from muserve.inference import model_config_pb2, service_pb2
from muserve.v1 import manifest_pb2
from muserve_server.services.open_inference.datatypes import datatype_of
from muserve_server.services.open_inference.names import ServedGraph

__all__ = ["config_of", "metadata_of"]

_PLATFORM = "onnx_onnxv1"


def metadata_of(graph: ServedGraph, versions: Iterable[str]) -> service_pb2.ModelMetadataResponse:
    """Describes the tensors of a graph.

    Args:
        graph: The graph.
        versions: The versions that have it under this name.
    """
    return service_pb2.ModelMetadataResponse(
        name=graph.name,
        versions=versions,
        platform=_PLATFORM,
        inputs=[_tensor(spec) for spec in graph.spec.inputs],
        outputs=[_tensor(spec) for spec in graph.spec.outputs],
    )


def config_of(graph: ServedGraph) -> model_config_pb2.ModelConfig:
    """Describes how a graph is run."""
    options = graph.model.batcher(graph.spec.role).options
    return model_config_pb2.ModelConfig(
        name=graph.name,
        platform=_PLATFORM,
        backend="onnxruntime",
        max_batch_size=options.max_batch_rows,
        input=[
            model_config_pb2.ModelInput(name=spec.name, data_type=_config_type(spec), dims=spec.shape[1:])
            for spec in graph.spec.inputs
        ],
        output=[
            model_config_pb2.ModelOutput(name=spec.name, data_type=_config_type(spec), dims=spec.shape[1:])
            for spec in graph.spec.outputs
        ],
        dynamic_batching=model_config_pb2.ModelDynamicBatching(
            max_queue_delay_microseconds=int(options.max_delay_s * 1e6)
        ),
    )


def _config_type(spec: manifest_pb2.TensorSpec) -> str:
    return f"TYPE_{datatype_of(spec).name}"


def _tensor(spec: manifest_pb2.TensorSpec) -> service_pb2.ModelMetadataResponse.TensorMetadata:
    return service_pb2.ModelMetadataResponse.TensorMetadata(
        name=spec.name, datatype=datatype_of(spec).name, shape=spec.shape
    )
