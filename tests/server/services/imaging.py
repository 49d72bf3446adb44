"""A server of images with its stubs, and an image task that a test holds up."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from functools import partial
from typing import Any

from grpc import aio

from muserve.v1 import image_pb2, image_pb2_grpc, model_pb2_grpc
from muserve_server.app import Server
from muserve_server.model import LocalOptions
from muserve_server.tasks import Call, Handler, installed_kinds
from tests.options import kinds_with
from tests.server.calling import serving_as

__all__ = ["GENERATE", "Gated", "Request", "Running", "running"]

Request = image_pb2.GenerateImagesRequest
GENERATE = "/muserve.v1.ImageService/GenerateImages"


class Running:
    """A server, a channel to it, and its stubs."""

    def __init__(self, server: Server, channel: aio.Channel) -> None:
        self.server = server
        self.channel = channel
        self.images = image_pb2_grpc.ImageServiceStub(channel)
        self.models = model_pb2_grpc.ModelServiceStub(channel)

    async def still_answers(self) -> None:
        assert len((await self.images.GenerateImages(Request(seed=1))).images) == 1


running = partial(serving_as, Running)


class Gated:
    """The image task, held up by a gate before it runs; as slow as a test needs it."""

    def __init__(self, before: Callable[[Any], Awaitable[None]]) -> None:
        self.started = 0
        self.ended = 0
        self._before = before

    def options(self, **others: Any) -> LocalOptions:
        return LocalOptions(kinds=kinds_with(image=self._make), **others)

    def _make(self, bundle: Any, limits: Any) -> Any:
        gated, task = self, installed_kinds()["image"].open(bundle, limits)

        class Task:
            def handlers(self) -> Mapping[str, Handler]:
                return {"GenerateImages": self.generate}

            async def generate(self, request: Any, call: Call) -> Any:
                gated.started += 1
                try:
                    await gated._before(request)
                    return await task.handlers()["GenerateImages"](request, call)
                finally:
                    gated.ended += 1

        return Task()
