"""What all task services do: find the model, let it answer, say who answered."""

from __future__ import annotations

from typing import Any

from google.protobuf.message import Message

from muserve_server.interceptors import CallContext
from muserve_server.repository import Repository

__all__ = ["answer"]


async def answer(repository: Repository, task: int, request: Any, call: CallContext) -> Message:
    """Answers a request of a task service.

    Args:
        repository: Where the models are.
        task: The service's `muserve.v1.Task`.
        request: Its request message, with the fields model and version.
        call: What is known of the call; gets the model's name and version.

    Returns:
        The response message.

    Raises:
        MuserveError: As the service documents.
    """
    version = request.version if request.HasField("version") else None
    with repository.use(task, request.model, version) as model:
        call.model = model.bundle.manifest.name
        call.version = str(model.bundle.manifest.version)
        response: Message = await model.answer(
            request, deadline=call.deadline, stats=call.stats, request_id=call.request_id
        )
        return response
