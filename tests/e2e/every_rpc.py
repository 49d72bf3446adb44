"""Requests for every RPC that a server has, and what of their answers is the same at each time."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor
from google.protobuf.message import Message
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection_pb2

from muserve.inference import infer_pb2, model_config_pb2, model_repository_pb2, model_statistics_pb2, service_pb2
from muserve.v1 import common_pb2, model_pb2
from muserve_server.services import service_descriptors
from muserve_server.tasks import installed_kinds
from tests.bundles import LATENT_SIZE, image_bundle
from tests.e2e.scenarios import LOOP, SCENARIOS, Scenario
from tests.server.services.inferring import raw_request, typed_request

__all__ = ["FAMILIES", "constant", "every_method", "requests_of", "write_models"]

FAMILIES: tuple[Scenario, ...] = tuple(scenario for scenario in SCENARIOS if scenario is not LOOP)
"""The scenarios whose kinds each server has."""

_TENSORS: dict[str, Any] = {
    "latent": np.linspace(-1, 1, 3 * LATENT_SIZE, dtype=np.float32).reshape(3, LATENT_SIZE),
    "truncation": np.ones(3, np.float32),
}
_REFLECTION = reflection_pb2.ServerReflectionRequest
_OTHERS: list[Message] = [
    model_pb2.ListModelsRequest(),
    model_pb2.ListModelsRequest(task=common_pb2.TASK_MUSIC),
    model_pb2.GetModelRequest(name="plain"),
    model_pb2.GetModelRequest(name="plain", version=2),
    service_pb2.ServerLiveRequest(),
    service_pb2.ServerReadyRequest(),
    service_pb2.ServerMetadataRequest(),
    service_pb2.ModelReadyRequest(name="series"),
    service_pb2.ModelMetadataRequest(name="plain"),
    raw_request("plain", _TENSORS, id="raw"),
    typed_request("plain", _TENSORS, id="typed"),
    model_config_pb2.ModelConfigRequest(name="plain"),
    model_statistics_pb2.ModelStatisticsRequest(name="plain"),
    model_repository_pb2.RepositoryIndexRequest(),
    health_pb2.HealthCheckRequest(),
    health_pb2.HealthCheckRequest(service="models/plain"),
    health_pb2.HealthListRequest(),
    _REFLECTION(list_services=""),
    _REFLECTION(file_containing_symbol="muserve.v1.ImageService"),
    _REFLECTION(file_by_filename="nope.proto"),
]


def write_models(root: Path) -> None:
    """Writes a model of each family; that of "plain" has a second version, which is refused."""
    for family in FAMILIES:
        family.write(root)
    (image_bundle(root, "plain", version=2) / "graphs/generator.onnx").unlink()


def every_method() -> list[MethodDescriptor]:
    """Every RPC that a server has."""
    services = [*service_descriptors(installed_kinds()), reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"]]
    return [method for service in services for method in service.methods]


def requests_of(method: MethodDescriptor) -> list[Message]:
    """The requests that an RPC is called with. One that is new has none, until somebody adds some."""
    requests: Iterable[Message] = [request for family in FAMILIES for request in family.good] + _OTHERS
    return [request for request in requests if request.DESCRIPTOR.full_name == method.input_type.full_name]


def constant(method: MethodDescriptor, response: bytes) -> Message:
    """An answer without what differs each time: how long it took, and who shared its batch."""
    message: Any = message_factory.GetMessageClass(method.output_type).FromString(response)
    if isinstance(message, model_statistics_pb2.ModelStatisticsResponse):
        kept = [model_statistics_pb2.ModelStatistics(name=row.name, version=row.version) for row in message.model_stats]
        return model_statistics_pb2.ModelStatisticsResponse(model_stats=kept)
    if "info" in message.DESCRIPTOR.fields_by_name:
        assert message.info.timings.ByteSize()
        message.info.ClearField("timings")
    if isinstance(message, infer_pb2.ModelInferResponse):
        message.parameters.clear()
    return message  # type: ignore[no-any-return]
