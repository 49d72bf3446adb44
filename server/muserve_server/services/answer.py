"""muserve.v1.AnswerService."""

from __future__ import annotations

from google.protobuf.message import Message

from muserve.v1 import answer_pb2, answer_pb2_grpc, common_pb2
from muserve_server.interceptors import CallContext
from muserve_server.repository import Repository
from muserve_server.services.answering import answer

__all__ = ["AnswerService"]


class AnswerService(answer_pb2_grpc.AnswerServiceServicer):
    """Serves models of TASK_ANSWER."""

    def __init__(self, repository: Repository) -> None:
        self._repository = repository

    async def AnswerQuestion(self, request: answer_pb2.AnswerQuestionRequest, call: CallContext) -> Message:
        """Answers a question; see answer.proto."""
        return await answer(self._repository, common_pb2.TASK_ANSWER, request, call)

    async def GenerateQuestions(self, request: answer_pb2.GenerateQuestionsRequest, call: CallContext) -> Message:
        """Asks about a text; see answer.proto."""
        return await answer(self._repository, common_pb2.TASK_ANSWER, request, call)
