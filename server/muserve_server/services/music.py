"""muserve.v1.MusicService."""

from __future__ import annotations

from google.protobuf.message import Message

from muserve.v1 import common_pb2, music_pb2, music_pb2_grpc
from muserve_server.interceptors import CallContext
from muserve_server.repository import Repository
from muserve_server.services.answering import answer

__all__ = ["MusicService"]


class MusicService(music_pb2_grpc.MusicServiceServicer):
    """Serves models of TASK_MUSIC."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def GenerateMusic(self, request: music_pb2.GenerateMusicRequest, call: CallContext) -> Message:
        """Writes pieces; see music.proto."""
        return await answer(self._repository, common_pb2.TASK_MUSIC, request, call)

    async def Accompany(self, request: music_pb2.AccompanyRequest, call: CallContext) -> Message:
        """Adds tracks to the caller's file; see music.proto."""
        return await answer(self._repository, common_pb2.TASK_MUSIC, request, call)
