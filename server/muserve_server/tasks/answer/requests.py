"""Checks requests and fills in defaults."""

from __future__ import annotations

import re
from dataclasses import dataclass

from muserve.v1 import answer_pb2, manifest_pb2
from muserve_server.tasks.answer.limits import AnswerLimits
from muserve_server.tasks.requests import Violations, seed_of

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
    limits: AnswerLimits,
    *,
    has_corpus: bool,
) -> AnswerPlan:
    """Checks a question.

    Raises:
        InvalidRequestError: Names each wrong field.
    """
    violations = Violations()
    _check_text(violations, "question", request.question, limits.max_question_bytes)
    if request.HasField("context"):
        _check_text(violations, "context", request.context, limits.max_context_bytes)
    elif not has_corpus:
        violations.refuse("context", "is not set, and this model has no corpus of its own; give a text")
    count = violations.count(request, default=1, maximum=limits.max_samples_per_call)
    first_sample = violations.first_sample(request, count)
    max_tokens = settings.answer_tokens
    tokens = request.max_tokens if request.HasField("max_tokens") else max_tokens
    if not 1 <= tokens <= max_tokens:
        violations.refuse("max_tokens", f"is {tokens}; allowed: 1 up to {max_tokens}")
    violations.check()
    return AnswerPlan(count, seed_of(request), first_sample, tokens)


def plan_questions(
    request: answer_pb2.GenerateQuestionsRequest, limits: AnswerLimits, model: str, *, can_generate: bool
) -> QuestionsPlan:
    """Checks a request for questions.

    Raises:
        InvalidRequestError: Names each wrong field.
    """
    violations = Violations()
    _check_text(violations, "context", request.context, limits.max_context_bytes)
    count = violations.count(request, default=_QUESTIONS, maximum=limits.max_samples_per_call)
    if not can_generate:
        violations.refuse("model", f"is {model}, which was not trained to generate questions; choose another model")
    violations.check()
    return QuestionsPlan(count, seed_of(request))


def _check_text(violations: Violations, name: str, text: str, max_bytes: int) -> None:
    size = len(text.encode())
    if not text.strip():
        violations.refuse(name, "is empty; give a text")
    elif size > max_bytes:
        violations.refuse(name, f"has {size:,} bytes; allowed: up to {max_bytes:,}")
    else:
        match = _CONTROL.search(text)
        if match:
            violations.refuse(
                name, f"has the control character U+{ord(match[0]):04X}; remove it: only white space is allowed"
            )
