"""The answer task: questions and texts in, answers and questions out."""

from muserve_server.tasks.answer.task import AnswerTask

__all__ = ["AnswerTask"]
