"""Models: what a server has, and what each bundle says of itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from muserve.configuration import nearest
from muserve.v1 import common_pb2, manifest_pb2, model_pb2
from muserve_client.core import Method, Rpc
from muserve_client.fields import Fields

__all__ = ["Model", "get_model_rpc", "list_models_rpc"]

_LIST_MODELS = Method(
    "/muserve.v1.ModelService/ListModels",
    model_pb2.ListModelsRequest.SerializeToString,
    model_pb2.ListModelsResponse.FromString,
)
_GET_MODEL = Method(
    "/muserve.v1.ModelService/GetModel",
    model_pb2.GetModelRequest.SerializeToString,
    model_pb2.GetModelResponse.FromString,
)


@dataclass(frozen=True)
class Model:
    """One version of one model on a server."""

    name: str
    """Its name."""
    version: int
    """Its version."""
    task: str
    """What it does: "image", "forecast", "music", "translation", "answer"; "unspecified" if its manifest is broken."""
    state: str
    """"ready" if it answers; "loading", "refused" or "unloading" if not."""
    reason: str
    """Why it was refused; empty otherwise."""
    digest: str
    """SHA-256 of its manifest, 64 hex digits; empty if it cannot be read."""
    default: bool
    """Whether requests of this task that name no model come here."""
    description: str
    """One line for people."""
    manifest: manifest_pb2.ModelManifest | None = field(default=None, repr=False, compare=False)
    """Everything the bundle says of itself; only `Client.model` gets it."""


def list_models_rpc(task: Any) -> Rpc[list[Model]]:
    """Returns the call that lists models.

    Args:
        task: Only models of this task, as in `Model.task`; None for all.

    Raises:
        InvalidRequestError: There is no such task.
    """
    request = model_pb2.ListModelsRequest()
    if task is not None:
        tasks = [_short(name, "TASK_") for name, number in common_pb2.Task.items() if number]
        fields = Fields()
        name = fields.text("task", task)
        fields.check()
        if name not in tasks:
            fields.refuse("task", f"is {task!r}; {nearest(name, tasks)}")
        fields.check()
        request = model_pb2.ListModelsRequest(task=f"TASK_{name.upper()}")
    return Rpc(_LIST_MODELS, request, lambda response: [_read(model) for model in response.models])


def get_model_rpc(name: Any, version: Any) -> Rpc[Model]:
    """Returns the call that gets one model with its manifest.

    Raises:
        InvalidRequestError: Names the arguments that no request can carry.
    """
    fields = Fields()
    request = model_pb2.GetModelRequest(name=fields.text("name", name))
    if version is not None:
        request.version = fields.whole("version", version, bits=32)
    fields.check()
    return Rpc(_GET_MODEL, request, lambda response: _read(response.model, response.manifest))


def _read(model: model_pb2.Model, manifest: manifest_pb2.ModelManifest | None = None) -> Model:
    return Model(
        name=model.name,
        version=model.version,
        task=_word(common_pb2.Task, "TASK_", model.task),
        state=_word(model_pb2.ModelState, "MODEL_STATE_", model.state),
        reason=model.reason,
        digest=model.digest,
        default=model.default,
        description=model.description,
        manifest=manifest,
    )


def _word(enum: Any, prefix: str, number: int) -> str:
    """Names an enum's value; a newer server may know more than this client."""
    return _short(enum.Name(number), prefix) if number in enum.values() else f"unknown-{number}"


def _short(name: str, prefix: str) -> str:
    return name.removeprefix(prefix).lower()
