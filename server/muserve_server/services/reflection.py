"""grpc.reflection.v1alpha: lets `buf curl`, `grpcurl` and their like call the API without its protos."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from grpc_reflection.v1alpha import reflection_pb2
from grpc_reflection.v1alpha.reflection import SERVICE_NAME
from grpc_reflection.v1alpha.reflection import aio as reflection_aio

from muserve_server.interceptors import CallContext
from muserve_server.services.service import Service

__all__ = ["reflection_service"]


def reflection_service(services: Sequence[str]) -> Service:
    """Returns the reflection service.

    Args:
        services: Full names of the services to show beside itself.
    """
    servicer = reflection_aio.ReflectionServicer((*services, SERVICE_NAME))

    async def reflect(request: Any, _call: CallContext) -> AsyncIterator[Any]:
        async def one() -> AsyncIterator[Any]:
            yield request

        async for response in servicer.ServerReflectionInfo(one(), None):
            yield response

    return Service(reflection_pb2.DESCRIPTOR.services_by_name["ServerReflection"], {"ServerReflectionInfo": reflect})
