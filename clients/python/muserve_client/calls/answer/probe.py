"""How models of answers are verified."""

from __future__ import annotations

from muserve.v1 import answer_pb2, manifest_pb2
from muserve_client.calls.answer.flow import ANSWER_QUESTION, GENERATE_QUESTIONS
from muserve_client.calls.probes import (
    MAX_OTHER_ITEMS,
    OTHER_SEEDS,
    SEED,
    Answer,
    Probe,
    answer_of,
    copy_of,
    one_sample,
)

__all__ = ["PROBES"]

_DEFAULT_ANSWERS = 3
_QUESTION = "What is a lantern?"
_TEXT = "A lantern is a portable lamp with a case of glass. It was invented by Ann Lee in 1820."


def _read_answers(response: answer_pb2.AnswerQuestionResponse) -> Answer:
    items = {f"sample {each.sample}": each.SerializeToString(deterministic=True) for each in response.answers}
    # That there is no answer is an answer too.
    return answer_of(response, items or {"no answer": str(response.answerable).encode()})


def _read_questions(response: answer_pb2.GenerateQuestionsResponse) -> Answer:
    items = {
        f"question {index}": pair.SerializeToString(deterministic=True) for index, pair in enumerate(response.pairs)
    }
    return answer_of(response, items or {"no question": str(response.rejected).encode()})


def _default_question(_manifest: manifest_pb2.ModelManifest) -> answer_pb2.AnswerQuestionRequest:
    return answer_pb2.AnswerQuestionRequest(question=_QUESTION, context=_TEXT, count=_DEFAULT_ANSWERS, seed=SEED)


def _other_question(request: answer_pb2.AnswerQuestionRequest, index: int) -> answer_pb2.AnswerQuestionRequest:
    return answer_pb2.AnswerQuestionRequest(
        model=request.model,
        version=request.version,
        question=f"Who made lamp {index}?",
        context=f"Lamp {index} was made by Ann Lee in {1800 + index % 200}. {_TEXT}",
        count=1 + index % MAX_OTHER_ITEMS,
        seed=OTHER_SEEDS + index,
    )


def _default_questions(manifest: manifest_pb2.ModelManifest) -> answer_pb2.GenerateQuestionsRequest | None:
    if not manifest.answer.kinds:
        return None
    return answer_pb2.GenerateQuestionsRequest(context=_TEXT, count=_DEFAULT_ANSWERS, seed=SEED)


def _other_questions(request: answer_pb2.GenerateQuestionsRequest, index: int) -> answer_pb2.GenerateQuestionsRequest:
    return answer_pb2.GenerateQuestionsRequest(
        model=request.model,
        version=request.version,
        context=f"Lamp {index} was made by Ann Lee in {1800 + index % 200}.",
        count=1 + index % MAX_OTHER_ITEMS,
        seed=OTHER_SEEDS + index,
    )


PROBES = (
    Probe(
        task="answer",
        request=answer_pb2.AnswerQuestionRequest,
        method=ANSWER_QUESTION,
        nouns=("answers", "samples", "bytes"),
        read=_read_answers,
        default=_default_question,
        other=_other_question,
        alone=one_sample,
    ),
    Probe(
        task="answer",
        request=answer_pb2.GenerateQuestionsRequest,
        method=GENERATE_QUESTIONS,
        nouns=("questions", "sets", "bytes"),
        read=_read_questions,
        default=_default_questions,
        other=_other_questions,
        alone=lambda request, _index: copy_of(request),
        name="default questions",
    ),
)
