"""One version of one model as the repository sees it, and the lease by which calls hold what it serves."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from muserve.bundle import Bundle
from muserve.v1 import model_pb2
from muserve_server.model import LocalModel
from muserve_server.repository.folders import Signature

__all__ = ["Lease", "ModelEntry"]


class Lease:
    """A served model and the calls that are using it: each enters the lease while it runs."""

    def __init__(self, model: LocalModel) -> None:
        self.model = model
        self._calls = 0
        self._unused = asyncio.Event()
        self._unused.set()

    def __enter__(self) -> LocalModel:
        self._calls += 1
        self._unused.clear()
        return self.model

    def __exit__(self, *_: object) -> None:
        self._calls -= 1
        if not self._calls:
            self._unused.set()

    async def close_when_unused(self) -> None:
        """Closes the model once its last call has ended."""
        await self._unused.wait()
        await self.model.close()


@dataclass
class ModelEntry:
    """One folder <name>/<version> of the repository."""

    name: str
    """Name of the folder, which the manifest must repeat."""
    version: int
    """Version of the folder, which the manifest must repeat."""
    reason: str = ""
    """Why the files that are there now were refused."""
    bundle: Bundle | None = None
    """What it serves or, if it serves nothing, what could be read of it."""
    signature: Signature = ()
    """Of its files when they were last tried; empty to try them again."""
    pending: bool = True
    """Whether its files are still to be tried."""
    removed: bool = False
    """Whether its folder is gone. It answers until what takes its place is ready."""
    waits: bool = False
    """Whether it was refused only because of another model, and may serve once that one is gone."""
    lease: Lease | None = None
    """What it serves."""

    @property
    def task(self) -> str:
        """Name of its task kind; empty where its manifest cannot be read."""
        return self.bundle.task if self.bundle else ""

    @property
    def state(self) -> model_pb2.ModelState:
        """Whether it answers."""
        if self.removed:
            return model_pb2.MODEL_STATE_UNLOADING
        if self.lease:
            return model_pb2.MODEL_STATE_READY
        return model_pb2.MODEL_STATE_LOADING if self.pending else model_pb2.MODEL_STATE_REFUSED

    def __str__(self) -> str:
        return f"{self.name}/{self.version}"
