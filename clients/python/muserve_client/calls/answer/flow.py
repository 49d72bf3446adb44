"""The calls that answer questions and ask them."""

from __future__ import annotations

from muserve.v1 import answer_pb2
from muserve_client.calls.answer.result import Answers, Questions, read_answers, read_questions
from muserve_client.fields import Fields
from muserve_client.flows import Flow, Rpc, method_of

__all__ = ["ANSWER_QUESTION", "GENERATE_QUESTIONS", "ask", "questions"]

_SERVICE = answer_pb2.DESCRIPTOR.services_by_name["AnswerService"]
ANSWER_QUESTION = method_of(_SERVICE, "AnswerQuestion")
GENERATE_QUESTIONS = method_of(_SERVICE, "GenerateQuestions")


def ask(
    question: str,
    context: str | None = None,
    *,
    count: int | None = None,
    seed: int | None = None,
    first_sample: int = 0,
    max_tokens: int | None = None,
    model: str = "",
    version: int | None = None,
    timeout_s: float | None = None,
    request_id: str | None = None,
) -> Flow[Answers]:
    """Answers a question, from a text or from the model's own corpus.

    Args:
        question: In natural language: "What is a GAN?".
        context: The text to answer from; empty lines separate entries or paragraphs. None searches the model's
            corpus, tolerating misspellings.
        count: How many answers; None takes 1. The first of a seed is the most likely one, the others are sampled.
        seed: From 0 to 2^64 - 1; None lets the server draw one, which the result reports.
        first_sample: Index of the first answer in the seed's endless series.
        max_tokens: Maximum length of an answer in tokens (words or pieces of words); None takes the model's limit.
        model: Model name; "" takes the server's default.
        version: Model version; None takes the newest.
        timeout_s: Seconds for this call, retries included; None takes the client's.
        request_id: The call's name in the server's log; None draws one.

    Returns:
        The answers with their evidence and source; empty if the text does not answer the question, which is not an
        error.

    Raises:
        MuserveError: As `muserve.errors` lists them.
    """
    fields, request = Fields(), answer_pb2.AnswerQuestionRequest()
    fields.fill(
        request,
        question=question,
        context=context,
        max_tokens=max_tokens,
        first_sample=first_sample,
        count=count,
        seed=seed,
        model=model,
        version=version,
    )
    fields.check()
    return read_answers((yield Rpc(ANSWER_QUESTION, request, timeout_s=timeout_s, request_id=request_id)))


def questions(
    context: str,
    *,
    count: int | None = None,
    seed: int | None = None,
    model: str = "",
    version: int | None = None,
    timeout_s: float | None = None,
    request_id: str | None = None,
) -> Flow[Questions]:
    """Generates questions that a text answers, each with its answer.

    Args:
        context: The text; empty lines separate entries or paragraphs.
        count: Maximum number of questions; None takes 5. There may be fewer.
        seed: See `ask`.
        model: See `ask`. Not every model can generate questions.
        version: See `ask`.
        timeout_s: See `ask`. Long texts take long.
        request_id: See `ask`.

    Returns:
        Questions and answers in the order of the text, with model, digest and seed.

    Raises:
        MuserveError: As `muserve.errors` lists them.
    """
    fields, request = Fields(), answer_pb2.GenerateQuestionsRequest()
    fields.fill(request, context=context, count=count, seed=seed, model=model, version=version)
    fields.check()
    return read_questions((yield Rpc(GENERATE_QUESTIONS, request, timeout_s=timeout_s, request_id=request_id)))
