"""muserve.v1.ImageService."""

from __future__ import annotations

from google.protobuf.message import Message

from muserve.v1 import common_pb2, image_pb2, image_pb2_grpc
from muserve_server.interceptors import CallContext
from muserve_server.repository import Repository
from muserve_server.services.answering import answer

__all__ = ["ImageService"]


class ImageService(image_pb2_grpc.ImageServiceServicer):
    """Serves models of TASK_IMAGE."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def GenerateImages(self, request: image_pb2.GenerateImagesRequest, call: CallContext) -> Message:
        """Draws images; see image.proto."""
        return await answer(self._repository, common_pb2.TASK_IMAGE, request, call)
