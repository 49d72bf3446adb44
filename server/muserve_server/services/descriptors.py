"""The services that a server has, before there is any server."""

from __future__ import annotations

from google.protobuf.descriptor import ServiceDescriptor
from grpc_health.v1 import health_pb2

from muserve.inference import service_pb2
from muserve.v1 import model_pb2
from muserve_server.tasks import Kinds

__all__ = ["service_descriptors"]


def service_descriptors(kinds: Kinds) -> list[ServiceDescriptor]:
    """Returns the services of models, the Open Inference Protocol, health and task kinds: plug-ins last."""
    ours = (
        model_pb2.DESCRIPTOR.services_by_name["ModelService"],
        service_pb2.DESCRIPTOR.services_by_name["GRPCInferenceService"],
        health_pb2.DESCRIPTOR.services_by_name["Health"],
    )
    return [*ours, *(kind.service for kind in kinds.values() if kind.service)]
