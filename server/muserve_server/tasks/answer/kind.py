"""The task kind answer: its service and its limits. What does the work is imported with the first bundle."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.bundle import Bundle
from muserve.configuration import option
from muserve.v1 import answer_pb2
from muserve_server.limits import MAX_SAMPLES_PER_CALL
from muserve_server.tasks.kind import Task, TaskKind

__all__ = ["KIND", "AnswerLimits"]


@dataclass(frozen=True)
class AnswerLimits:
    """What is checked before memory is taken; `muserve-server --help` explains each."""

    max_samples_per_call: int = MAX_SAMPLES_PER_CALL
    max_question_bytes: int = option(8_000, "maximum length of a question, in UTF-8", unit="bytes", minimum=1)
    max_context_bytes: int = option(
        64_000, "maximum length of a text that one call may bring to be read, in UTF-8", unit="bytes", minimum=1
    )


def _open(bundle: Bundle, limits: AnswerLimits) -> Task:
    from muserve_server.tasks.answer.task import AnswerTask

    return AnswerTask(bundle, limits)


KIND = TaskKind("answer", answer_pb2.DESCRIPTOR.services_by_name["AnswerService"], AnswerLimits, _open)
