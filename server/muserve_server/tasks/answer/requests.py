"""Checks requests, and decides what they leave open."""

from __future__ import annotations

import re
from dataclasses import dataclass

from muserve.errors import FieldViolation, InvalidRequestError
from muserve.v1 import answer_pb2, manifest_pb2
from muserve_server.tasks import noise
from muserve_server.tasks.kind import TaskLimits

__all__ = ["AnswerPlan", "QuestionsPlan", "plan_answer", "plan_questions"]

_QUESTIONS = 5
_CONTROL = re.compile("[\x00-\x08\x0e-\x1b\x7f-\x84\x86-\x9f]")
"""Control characters, but for those that are white space."""


@dataclass(frozen=True)
class AnswerPlan:
    """A checked question."""

    count: int
    seed: int
    first_sample: int
    max_tokens: int


@dataclass(frozen=True)
class QuestionsPlan:
    """A checked request for questions."""

    count: int
    seed: int


def plan_answer(
    request: answer_pb2.AnswerQuestionRequest,
    settings: manifest_pb2.AnswerSettings,
    limits: TaskLimits,
    *,
    has_corpus: bool,
) -> AnswerPlan:
    """Checks a question.

    Raises:
        InvalidRequestError: Names each wrong field.
    """
    wrong: list[FieldViolation] = []
    _check_text(wrong, "question", request.question, limits.max_question_bytes)
    if request.HasField("context"):
        _check_text(wrong, "context", request.context, limits.max_context_bytes)
    elif not has_corpus:
        wrong.append(FieldViolation("context", "is not set, and this model has no corpus of its own; give a text"))
    count = _count(wrong, request, 1, limits)
    if request.first_sample + count > noise.MAX_SAMPLE_INDEX:
        wrong.append(FieldViolation("first_sample", f"is {request.first_sample}; with count it may not pass 2^53"))
    most = settings.answer_tokens
    tokens = request.max_tokens if request.HasField("max_tokens") else most
    if not 1 <= tokens <= most:
        wrong.append(FieldViolation("max_tokens", f"is {tokens}; allowed: 1 up to {most}"))
    if wrong:
        raise InvalidRequestError(violations=wrong)
    return AnswerPlan(count, _seed(request), request.first_sample, tokens)


def plan_questions(
    request: answer_pb2.GenerateQuestionsRequest, limits: TaskLimits, model: str, *, can_ask: bool
) -> QuestionsPlan:
    """Checks a request for questions.

    Raises:
        InvalidRequestError: Names each wrong field.
    """
    wrong: list[FieldViolation] = []
    _check_text(wrong, "context", request.context, limits.max_context_bytes)
    count = _count(wrong, request, _QUESTIONS, limits)
    if not can_ask:
        wrong.append(FieldViolation("model", f"is {model}, which was not taught to ask questions; choose another"))
    if wrong:
        raise InvalidRequestError(violations=wrong)
    return QuestionsPlan(count, _seed(request))


def _check_text(wrong: list[FieldViolation], name: str, text: str, most: int) -> None:
    size = len(text.encode())
    if not text.strip():
        wrong.append(FieldViolation(name, "is empty; give a text"))
    elif size > most:
        wrong.append(FieldViolation(name, f"has {size:,} bytes; allowed: up to {most:,}"))
    else:
        found = _CONTROL.search(text)
        if found:
            wrong.append(
                FieldViolation(
                    name, f"has the control character U+{ord(found[0]):04X}; take it out, only white space may be"
                )
            )


def _count(
    wrong: list[FieldViolation],
    request: answer_pb2.AnswerQuestionRequest | answer_pb2.GenerateQuestionsRequest,
    default: int,
    limits: TaskLimits,
) -> int:
    count = request.count if request.HasField("count") else default
    if not 1 <= count <= limits.max_samples_per_call:
        wrong.append(FieldViolation("count", f"is {count}; allowed: 1 up to {limits.max_samples_per_call}"))
    return count


def _seed(request: answer_pb2.AnswerQuestionRequest | answer_pb2.GenerateQuestionsRequest) -> int:
    return request.seed if request.HasField("seed") else noise.draw_seed()
