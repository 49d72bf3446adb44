"""Questions through a bundle as a server would answer them, many at a time; and what there is to tell of each."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, TypeVar

from muserve.v1 import answer_pb2
from muserve_server.model import LocalModel

__all__ = ["answer", "details_of", "each_of", "evidence_of", "said_by"]

_AT_ONCE = 16

Item = TypeVar("Item")
Result = TypeVar("Result")


async def answer(model: LocalModel, question: str, context: str | None) -> answer_pb2.AnswerQuestionResponse:
    """Asks one question; None searches the corpus."""
    request = answer_pb2.AnswerQuestionRequest(question=question, seed=0)
    if context is not None:
        request.context = context
    response: answer_pb2.AnswerQuestionResponse = await model.answer(request)
    return response


async def each_of(items: Sequence[Item], do: Callable[[Item], Awaitable[Result]]) -> list[Result]:
    """Does something for each item, some at a time."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(item: Item) -> Result:
        async with gate:
            return await do(item)

    return list(await asyncio.gather(*map(one, items)))


def said_by(response: answer_pb2.AnswerQuestionResponse) -> str:
    """The first answer of a response; "" if there is none."""
    return response.answers[0].text if response.answers else ""


def evidence_of(response: answer_pb2.AnswerQuestionResponse) -> str:
    """What the first answer rests on; "" if there is none."""
    return response.answers[0].evidence.text if response.answers else ""


def details_of(group: str, question: str, wanted: str, response: Any, score: float) -> Mapping[str, object]:
    """A row of the details: a question, what was expected, what was said."""
    return {
        "group": group, "question": question, "wanted": wanted, "said": said_by(response),
        "evidence": evidence_of(response), "source": response.source.title, "answerable": f"{response.answerable:.3f}",
        "score": f"{score:.3f}",
    }  # fmt: skip
