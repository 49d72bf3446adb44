"""The task kind answer: its service, its limits, and what opens a bundle. The rest is imported with a bundle."""

from __future__ import annotations

from muserve.bundle import Bundle
from muserve.v1 import answer_pb2
from muserve_server.tasks.answer.limits import AnswerLimits
from muserve_server.tasks.kind import Task, TaskKind

__all__ = ["KIND"]


def _open(bundle: Bundle, limits: AnswerLimits) -> Task:
    from muserve_server.tasks.answer.task import AnswerTask

    return AnswerTask(bundle, limits)


KIND = TaskKind("answer", answer_pb2.DESCRIPTOR.services_by_name["AnswerService"], AnswerLimits, _open)
