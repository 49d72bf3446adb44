"""Asks questions that a text answers: writes them, asks them again, and keeps those whose answers are found again."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from muserve.v1 import answer_pb2, manifest_pb2
from muserve_server.tasks.answer.passages import Passage, cut_context
from muserve_server.tasks.answer.reader import PassageReader
from muserve_server.tasks.answer.reading import Reading, Span
from muserve_server.tasks.answer.requests import QuestionsPlan
from muserve_server.tasks.answer.search import split_words
from muserve_server.tasks.answer.text import TextCodec
from muserve_server.tasks.answer.writing import Draft, Draw, draw_noise, write
from muserve_server.tasks.base import Call

__all__ = ["Asker"]

_PASSAGES_PER_ROUND = 8
_VARIANTS = 3
"""Questions that are written of each kind where the first ones are too few."""
_LEAST_OVERLAP = 0.7
"""Of the evidence that is asked for and that which is found again, as F1 of characters."""


@dataclass(frozen=True)
class _Pair:
    """A question that gave its answer again."""

    question: str
    answer: str
    passage: Passage
    evidence: Span
    kind: str
    score: float


class Asker:
    """Asks about texts."""

    def __init__(self, settings: manifest_pb2.AnswerSettings, codec: TextCodec, reader: PassageReader) -> None:
        self._settings = settings
        self._codec = codec
        self._reader = reader

    async def ask(self, context: str, plan: QuestionsPlan, call: Call) -> answer_pb2.GenerateQuestionsResponse:
        """Asks up to so many questions, spread over the text.

        Raises:
            MuserveError: The queue is full, the deadline has passed, or a graph failed.
        """
        passages = await call.offload(cut_context, context, self._settings.passage_characters)
        pairs: list[_Pair] = []
        rejected = 0
        for variant in range(_VARIANTS):
            for chosen in _rounds(len(passages)):
                found, failed = await self._ask_about(
                    [passages[index] for index in chosen], chosen, variant, plan, call
                )
                rejected += failed
                pairs = _without_repeats([*pairs, *found])
                if len(pairs) >= plan.count:
                    return self._respond(pairs[: plan.count], rejected, plan)
        return self._respond(pairs, rejected, plan)

    async def _ask_about(
        self, passages: Sequence[Passage], numbers: Sequence[int], variant: int, plan: QuestionsPlan, call: Call
    ) -> tuple[list[_Pair], int]:
        """Writes a question of each kind about each passage; returns those that hold, and how many did not."""
        settings = self._settings
        wanted = [(kind, passage) for passage in passages for kind in settings.kinds]
        readings = await self._reader.read_kinds(wanted, call)
        drafts: list[Draft] = []
        kinds: list[str] = []
        for index, (reading, (kind, _)) in enumerate(zip(readings, wanted, strict=True)):
            if self._is_there(reading):
                number = numbers[index // len(settings.kinds)] * len(settings.kinds) + index % len(settings.kinds)
                drafts.append(Draft(reading, self._chance(plan.seed, number, variant)))
                kinds.append(kind)
        if not drafts:
            return [], 0
        temperature = settings.temperature
        await write(drafts, call, settings.writer, most=settings.question_tokens, temperature=temperature)
        return await self._check(drafts, kinds, call)

    async def _check(self, drafts: Sequence[Draft], kinds: Sequence[str], call: Call) -> tuple[list[_Pair], int]:
        """Asks the questions again; returns those that hold, and how many did not."""
        asked = [(draft, kind, draft.say(self._codec)) for draft, kind in zip(drafts, kinds, strict=True)]
        asked = [(draft, kind, question) for draft, kind, question in asked if draft.is_done and split_words(question)]
        again = await self._reader.read_pairs([(question, draft.reading.passage) for draft, _, question in asked], call)
        likeliest = Draw(np.zeros(self._settings.latent_size, np.float32), None)
        held = [
            (draft, kind, question, Draft(reading, likeliest))
            for (draft, kind, question), reading in zip(asked, again, strict=True)
            if self._is_there(reading) and _is_same(draft.reading.evidence, reading.evidence)
        ]
        if held:
            most, temperature = self._settings.answer_tokens, self._settings.temperature
            answers = [answer for *_, answer in held]
            await write(answers, call, self._settings.writer, most=most, temperature=temperature)
        pairs = [
            _Pair(question, answer.say(self._codec), answer.reading.passage, answer.reading.evidence, kind, draft.score)
            for draft, kind, question, answer in held
            if answer.is_done and answer.reading.evidence
        ]
        return pairs, len(drafts) - len(pairs)

    def _is_there(self, reading: Reading) -> bool:
        """Whether the passage answers, by the reader's own measure."""
        settings = self._settings
        value = (settings.answerable_scale or 1.0) * reading.answerable + settings.answerable_offset
        threshold = settings.answerable_threshold
        return reading.evidence is not None and 1.0 / (1.0 + float(np.exp(-value))) >= threshold

    def _chance(self, seed: int, number: int, variant: int) -> Draw:
        """The first of each passage and kind is the likeliest, all others are drawn."""
        settings = self._settings
        sample = number * _VARIANTS + variant
        if not variant:
            return Draw(np.zeros(settings.latent_size, np.float32), None)
        return draw_noise(seed, sample, 1, settings.latent_size, settings.answer_tokens)[0]

    def _respond(
        self, pairs: Sequence[_Pair], rejected: int, plan: QuestionsPlan
    ) -> answer_pb2.GenerateQuestionsResponse:
        response = answer_pb2.GenerateQuestionsResponse(rejected=rejected)
        response.info.seed = plan.seed
        for pair in sorted(pairs, key=_position):
            start, end = pair.passage.place(pair.evidence.start, pair.evidence.end)
            text = pair.passage.text[pair.evidence.start : pair.evidence.end]
            response.pairs.add(
                question=pair.question,
                answer=pair.answer,
                evidence=answer_pb2.Evidence(text=text, start=start, end=end),
                kind=pair.kind,
                score=pair.score,
            )
        return response


def _rounds(count: int) -> Iterator[list[int]]:
    """Yields which passages come at a time: each round is spread over the whole text."""
    rounds = -(-count // _PASSAGES_PER_ROUND)
    for first in range(rounds):
        yield list(range(first, count, rounds))


def _position(pair: _Pair) -> tuple[int, int]:
    return pair.passage.place(pair.evidence.start, pair.evidence.end)


def _without_repeats(pairs: Sequence[_Pair]) -> list[_Pair]:
    """Drops what asks the same as one before: in the same words, or for the same piece by the same kind."""
    kept: list[_Pair] = []
    seen: set[object] = set()
    for pair in pairs:
        same_words, same_piece = " ".join(split_words(pair.question)), (pair.kind, _position(pair))
        if same_words not in seen and same_piece not in seen:
            seen |= {same_words, same_piece}
            kept.append(pair)
    return kept


def _is_same(first: Span | None, second: Span | None) -> bool:
    """Whether two pieces of evidence are nearly one, by F1 of their characters."""
    if first is None or second is None:
        return False
    common = min(first.end, second.end) - max(first.start, second.start)
    return 2 * common >= _LEAST_OVERLAP * (first.end - first.start + second.end - second.start)
