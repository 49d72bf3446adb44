"""The service of a task kind, made of its descriptor: finds the model, lets it answer, says who answered."""

from __future__ import annotations

from typing import Any

from google.protobuf.descriptor import ServiceDescriptor
from google.protobuf.message import Message

from muserve_server.interceptors import CallContext
from muserve_server.repository import Repository
from muserve_server.services.service import Service

__all__ = ["typed_service"]


def typed_service(task: str, descriptor: ServiceDescriptor, repository: Repository) -> Service:
    """Returns the service of a task kind.

    Args:
        task: Name of the kind.
        descriptor: Its service; see `TaskKind.service`.
        repository: Where the models are.
    """

    async def answer(request: Any, call: CallContext) -> Message:
        version = request.version if request.HasField("version") else None
        with await repository.use(task, request.model, version, deadline=call.deadline) as model:
            call.model = model.bundle.manifest.name
            call.version = str(model.bundle.manifest.version)
            response: Message = await model.answer(
                request, deadline=call.deadline, stats=call.stats, request_id=call.request_id
            )
            return response

    return Service(descriptor, {method.name: answer for method in descriptor.methods})
