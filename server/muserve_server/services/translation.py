"""muserve.v1.ImageTranslationService."""

from __future__ import annotations

from google.protobuf.message import Message

from muserve.v1 import common_pb2, translation_pb2, translation_pb2_grpc
from muserve_server.interceptors import CallContext
from muserve_server.repository import Repository
from muserve_server.services.answering import answer

__all__ = ["TranslationService"]


class TranslationService(translation_pb2_grpc.ImageTranslationServiceServicer):
    """Serves models of TASK_TRANSLATION."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def TranslateImage(self, request: translation_pb2.TranslateImageRequest, call: CallContext) -> Message:
        """Translates an image; see translation.proto."""
        return await answer(self._repository, common_pb2.TASK_TRANSLATION, request, call)
