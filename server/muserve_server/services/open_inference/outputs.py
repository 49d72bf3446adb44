"""From what a graph gave to a response."""

from __future__ import annotations

from muserve.inference import infer_pb2
from muserve_server.model import CallStats
from muserve_server.rows import Rows
from muserve_server.services.open_inference.datatypes import datatype_of
from muserve_server.services.open_inference.names import ServedGraph

__all__ = ["write_response"]


def write_response(
    request: infer_pb2.ModelInferRequest, graph: ServedGraph, outputs: Rows, stats: CallStats
) -> infer_pb2.ModelInferResponse:
    """Writes the outputs that were asked for, raw to those who sent raw tensors, else typed.

    Args:
        request: The request.
        graph: The graph that ran.
        outputs: All that it gave.
        stats: Where the time went.
    """
    response = infer_pb2.ModelInferResponse(model_name=graph.name, model_version=graph.version, id=request.id)
    response.parameters["digest"].string_param = graph.model.bundle.digest
    response.parameters["batch_rows"].int64_param = stats.batch_rows
    response.parameters["queue_us"].int64_param = int(stats.queue_s * 1e6)
    response.parameters["compute_us"].int64_param = int(stats.compute_s * 1e6)
    specs = {spec.name: spec for spec in graph.spec.outputs}
    for name in [output.name for output in request.outputs] or specs:
        datatype, tensor = datatype_of(specs[name]), outputs[name]
        written = response.outputs.add(name=name, datatype=datatype.name, shape=tensor.shape)
        if request.raw_input_contents or not datatype.contents:
            response.raw_output_contents.append(datatype.to_raw(tensor))
        else:
            written.contents.CopyFrom(datatype.to_contents(tensor))
    return response
