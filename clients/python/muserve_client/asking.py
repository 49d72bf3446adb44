"""The calls behind `ask` and `questions`: arguments to requests, answers to values."""

from __future__ import annotations

from typing import Any

from muserve.v1 import answer_pb2
from muserve_client.answers import read_info
from muserve_client.core import Method, Rpc
from muserve_client.fields import Fields
from muserve_client.questions import Answer, Answers, Evidence, QuestionAnswer, Questions, Source

__all__ = ["answer_request", "answer_rpc", "questions_request", "questions_rpc"]

_ANSWER_QUESTION = Method(
    "/muserve.v1.AnswerService/AnswerQuestion",
    answer_pb2.AnswerQuestionRequest.SerializeToString,
    answer_pb2.AnswerQuestionResponse.FromString,
)
_GENERATE_QUESTIONS = Method(
    "/muserve.v1.AnswerService/GenerateQuestions",
    answer_pb2.GenerateQuestionsRequest.SerializeToString,
    answer_pb2.GenerateQuestionsResponse.FromString,
)


def answer_request(
    question: Any,
    context: Any,
    *,
    count: Any,
    seed: Any,
    first_sample: Any,
    max_tokens: Any,
    model: Any,
    version: Any,
) -> answer_pb2.AnswerQuestionRequest:
    """Writes the arguments of `Client.ask` as a request.

    Raises:
        InvalidRequestError: Names the arguments that no request can carry.
    """
    fields, request = Fields(), answer_pb2.AnswerQuestionRequest()
    request.question = fields.text("question", question)
    if context is not None:
        request.context = fields.text("context", context)
    if max_tokens is not None:
        request.max_tokens = fields.whole("max_tokens", max_tokens, bits=32)
    request.first_sample = fields.whole("first_sample", first_sample, bits=64)
    _fill(fields, request, count=count, seed=seed, model=model, version=version)
    fields.check()
    return request


def questions_request(
    context: Any, *, count: Any, seed: Any, model: Any, version: Any
) -> answer_pb2.GenerateQuestionsRequest:
    """Writes the arguments of `Client.questions` as a request.

    Raises:
        InvalidRequestError: Names the arguments that no request can carry.
    """
    fields, request = Fields(), answer_pb2.GenerateQuestionsRequest()
    request.context = fields.text("context", context)
    _fill(fields, request, count=count, seed=seed, model=model, version=version)
    fields.check()
    return request


def answer_rpc(request: answer_pb2.AnswerQuestionRequest) -> Rpc[Answers]:
    """Returns the call that answers a request."""
    return Rpc(_ANSWER_QUESTION, request, _read_answers)


def questions_rpc(request: answer_pb2.GenerateQuestionsRequest) -> Rpc[Questions]:
    """Returns the call that answers a request."""
    return Rpc(_GENERATE_QUESTIONS, request, _read_questions)


def _fill(fields: Fields, request: Any, *, count: Any, seed: Any, model: Any, version: Any) -> None:
    if count is not None:
        request.count = fields.whole("count", count, bits=32)
    if seed is not None:
        request.seed = fields.whole("seed", seed, bits=64)
    request.model = fields.text("model", model)
    if version is not None:
        request.version = fields.whole("version", version, bits=32)


def _read_answers(response: answer_pb2.AnswerQuestionResponse) -> Answers:
    source = response.source
    return Answers(
        answers=tuple(
            Answer(
                answer.text,
                answer.score,
                _evidence(answer.evidence) if answer.HasField("evidence") else None,
                answer.sample,
            )
            for answer in response.answers
        ),
        answerable=response.answerable,
        is_answerable=response.is_answerable,
        source=Source(source.title, tuple(source.aliases), source.text, source.corpus) if source.text else None,
        nearest=tuple(response.nearest),
        question_read=response.question_read,
        info=read_info(response.info),
    )


def _read_questions(response: answer_pb2.GenerateQuestionsResponse) -> Questions:
    pairs = tuple(
        QuestionAnswer(pair.question, pair.answer, _evidence(pair.evidence), pair.kind, pair.score)
        for pair in response.pairs
    )
    return Questions(pairs, response.rejected, read_info(response.info))


def _evidence(evidence: answer_pb2.Evidence) -> Evidence:
    return Evidence(evidence.text, evidence.start, evidence.end)
