"""The service of a task kind, made of its descriptor: finds the model, lets it answer, says who answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import grpc
from google.protobuf import message_factory
from google.protobuf.descriptor import MethodDescriptor, ServiceDescriptor
from google.protobuf.message import Message
from grpc import aio

from muserve_server.interceptors import CallContext
from muserve_server.repository import Repository

__all__ = ["add_typed_service"]


def add_typed_service(server: aio.Server, task: str, service: ServiceDescriptor, repository: Repository) -> None:
    """Adds a task kind's service to a server, as the generated `add_…Servicer_to_server` would.

    Args:
        server: Not yet started. Its methods get a `CallContext` in place of gRPC's own context: for use behind the
            interceptor.
        task: Name of the kind.
        service: Its service; see `TaskKind.service`.
        repository: Where the models are.
    """
    answer = _answerer(task, repository)
    methods = {method.name: _unary(method, answer) for method in service.methods}
    server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service.full_name, methods),))
    # Methods that the core does not know wait in a short queue of their own, from which a burst of calls is cancelled.
    server.add_registered_method_handlers(service.full_name, methods)


def _unary(method: MethodDescriptor, answer: Callable[[Any, CallContext], Awaitable[Message]]) -> grpc.RpcMethodHandler:
    return grpc.unary_unary_rpc_method_handler(
        answer,
        request_deserializer=message_factory.GetMessageClass(method.input_type).FromString,
        response_serializer=message_factory.GetMessageClass(method.output_type).SerializeToString,
    )


def _answerer(task: str, repository: Repository) -> Callable[[Any, CallContext], Awaitable[Message]]:
    async def answer(request: Any, call: CallContext) -> Message:
        version = request.version if request.HasField("version") else None
        with await repository.use(task, request.model, version, deadline=call.deadline) as model:
            call.model = model.bundle.manifest.name
            call.version = str(model.bundle.manifest.version)
            response: Message = await model.answer(
                request, deadline=call.deadline, stats=call.stats, request_id=call.request_id
            )
            return response

    return answer
