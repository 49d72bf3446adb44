"""Calls of the Open Inference Protocol, raw and typed, as its clients make them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from google.protobuf import message_factory
from grpc import aio
from numpy.typing import NDArray

from muserve.inference import infer_pb2, service_pb2
from muserve_server.app import Server

__all__ = ["SERVICE", "Inference", "raw_request", "tensors_of", "typed_request"]

SERVICE = "inference.GRPCInferenceService"
_NAMES = {
    "bool": "BOOL", "uint8": "UINT8", "int32": "INT32", "int64": "INT64", "float32": "FP32", "float64": "FP64",
}  # fmt: skip
_FIELDS = {
    "BOOL": "bool_contents", "UINT8": "uint_contents", "INT32": "int_contents", "INT64": "int64_contents",
    "FP32": "fp32_contents", "FP64": "fp64_contents",
}  # fmt: skip


class Inference:
    """A server, a channel to it, and a callable a method: `await inference.ServerLive(ServerLiveRequest())`."""

    def __init__(self, server: Server, channel: aio.Channel) -> None:
        self.server = server
        self.channel = channel

    def __getattr__(self, method: str) -> Any:
        descriptor = service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"].methods_by_name[method]
        return self.channel.unary_unary(
            f"/{SERVICE}/{method}",
            request_serializer=message_factory.GetMessageClass(descriptor.input_type).SerializeToString,
            response_deserializer=message_factory.GetMessageClass(descriptor.output_type).FromString,
        )


def raw_request(
    name: str, tensors: Mapping[str, NDArray[Any]], outputs: Sequence[str] = (), **fields: Any
) -> infer_pb2.ModelInferRequest:
    """A request whose tensors are sent as bytes."""
    request = _request(name, tensors, outputs, **fields)
    request.raw_input_contents.extend(tensor.tobytes() for tensor in tensors.values())
    return request


def typed_request(
    name: str, tensors: Mapping[str, NDArray[Any]], outputs: Sequence[str] = (), **fields: Any
) -> infer_pb2.ModelInferRequest:
    """A request whose tensors are sent as numbers."""
    request = _request(name, tensors, outputs, **fields)
    for tensor, array in zip(request.inputs, tensors.values(), strict=True):
        getattr(tensor.contents, _FIELDS[tensor.datatype]).extend(array.ravel().tolist())
    return request


def _request(
    name: str, tensors: Mapping[str, NDArray[Any]], outputs: Sequence[str], **fields: Any
) -> infer_pb2.ModelInferRequest:
    request = infer_pb2.ModelInferRequest(model_name=name, **fields)
    for tensor, array in tensors.items():
        request.inputs.add(name=tensor, datatype=_NAMES[array.dtype.name], shape=array.shape)
    for output in outputs:
        request.outputs.add(name=output)
    return request


def tensors_of(response: infer_pb2.ModelInferResponse) -> dict[str, NDArray[Any]]:
    """The outputs of a response, raw or typed."""
    tensors: dict[str, NDArray[Any]] = {}
    types = {name: np.dtype(dtype) for dtype, name in _NAMES.items()}
    for index, output in enumerate(response.outputs):
        if response.raw_output_contents:
            flat = np.frombuffer(response.raw_output_contents[index], types[output.datatype])
        else:
            flat = np.array(getattr(output.contents, _FIELDS[output.datatype]), types[output.datatype])
        tensors[output.name] = flat.reshape(output.shape)
    return tensors
