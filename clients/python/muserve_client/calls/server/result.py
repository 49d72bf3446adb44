"""Models: what a server has, and what each bundle says about itself."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from muserve.v1 import common_pb2, manifest_pb2, model_pb2

__all__ = ["Model", "read_model"]


@dataclass(frozen=True)
class Model:
    """One version of one model on a server."""

    name: str
    """Its name."""
    version: int
    """Its version."""
    task: str
    """What it does: "image", "forecast", "music", "translation", "answer", or the name of an installed task kind;
    "unspecified" if its manifest is broken."""
    state: str
    """"ready" if it serves; "loading", "refused" or "unloading" if not."""
    reason: str
    """Why it was refused; empty otherwise."""
    digest: str
    """SHA-256 of its manifest, 64 hex digits; empty if the manifest cannot be read."""
    default: bool
    """Whether requests of this task that name no model come here."""
    description: str
    """One line for people."""
    manifest: manifest_pb2.ModelManifest | None = field(default=None, repr=False, compare=False)
    """Everything the bundle says about itself; only `Client.model` returns it."""


def read_model(model: model_pb2.Model, manifest: manifest_pb2.ModelManifest | None = None) -> Model:
    """Reads the message."""
    return Model(
        name=model.name,
        version=model.version,
        task=model.task_name or _word(common_pb2.Task, "TASK_", model.task),  # older servers send no name
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
