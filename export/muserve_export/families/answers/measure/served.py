"""Asks a bundle questions through the code that serves it, several at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from muserve.v1 import answer_pb2
from muserve_server.model import LocalModel

__all__ = ["answer", "answer_text", "details_row", "evidence_text", "gather_limited"]

_AT_ONCE = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


async def answer(model: LocalModel, question: str, context: str | None) -> answer_pb2.AnswerQuestionResponse:
    """Asks one question; without a context the corpus is searched."""
    request = answer_pb2.AnswerQuestionRequest(question=question, seed=0)
    if context is not None:
        request.context = context
    response: answer_pb2.AnswerQuestionResponse = await model.answer(request)
    return response


async def gather_limited(items: Sequence[Item], do: Callable[[Item], Awaitable[Result]]) -> list[Result]:
    """Awaits `do` for each item, a limited number at a time."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(item: Item) -> Result:
        async with gate:
            return await do(item)

    return list(await asyncio.gather(*map(one, items)))


def answer_text(response: answer_pb2.AnswerQuestionResponse) -> str:
    """Returns the first answer of a response; "" if there is none."""
    return response.answers[0].text if response.answers else ""


def evidence_text(response: answer_pb2.AnswerQuestionResponse) -> str:
    """Returns the evidence of the first answer; "" if there is none."""
    return response.answers[0].evidence.text if response.answers else ""


def details_row(group: str, question: str, wanted: str, response: Any, score: float) -> Mapping[str, object]:
    """Returns a row of the details: a question, the expected answer, and the given one."""
    return {
        "group": group,
        "question": question,
        "wanted": wanted,
        "said": answer_text(response),
        "evidence": evidence_text(response),
        "source": response.source.title,
        "answerable": f"{response.answerable:.3f}",
        "score": f"{score:.3f}",
    }
