"""Asks questions that a text answers: writes them, asks them again, and keeps those whose answers are found again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from muserve.v1 import answer_pb2, manifest_pb2
from muserve_server.tasks.answer.decoder import Draft, Draw, TextDecoder
from muserve_server.tasks.answer.passages import Passage, cut_context
from muserve_server.tasks.answer.reader import PassageReader
from muserve_server.tasks.answer.reading import Reading, Span, probability
from muserve_server.tasks.answer.requests import QuestionsPlan
from muserve_server.tasks.answer.search import split_words
from muserve_server.tasks.answer.text import TextCodec
from muserve_server.tasks.kind import Call

__all__ = ["QuestionGenerator", "evidence_of"]

_PASSAGES_PER_ROUND = 8
_ROUNDS_AT_ONCE = 16
"""Calls that are in a round at a time: each holds up to 10 MiB; others wait in turn."""
_MAX_PASSAGES, _PASSAGES_PER_QUESTION = 64, 4
_VARIANTS = 3
"""Questions that are written of each kind where the first ones are too few."""
_MIN_OVERLAP = 0.7
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


class QuestionGenerator:
    """Asks about texts."""

    def __init__(
        self, settings: manifest_pb2.AnswerSettings, codec: TextCodec, reader: PassageReader, writer: TextDecoder
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._reader = reader
        self._writer = writer
        self._gate = asyncio.Semaphore(_ROUNDS_AT_ONCE)

    async def ask(self, context: str, plan: QuestionsPlan, call: Call) -> answer_pb2.GenerateQuestionsResponse:
        """Asks up to so many questions, spread over the text.

        Raises:
            MuserveError: The queue is full, the deadline has passed, or a graph failed.
        """
        passages = await call.offload(self._cut, context, max(_MAX_PASSAGES, _PASSAGES_PER_QUESTION * plan.count))
        # What can be asked: all is tried once, and what holds again.
        open_ = [(index, kind) for index in range(len(passages)) for kind in range(len(self._settings.kinds))]
        pairs: list[_Pair] = []
        rejected = 0
        for variant in range(_VARIANTS):
            requested: list[tuple[int, int]] = []
            for chosen in _rounds(open_, len(passages)):
                async with self._gate:
                    found, held, failed = await self._ask_about(passages, chosen, variant, plan.seed, call)
                rejected += failed
                requested += held
                pairs = await call.offload(_without_repeats, [*pairs, *found])
                if len(pairs) >= plan.count:
                    return self._respond(_spread(pairs, plan.count), rejected, plan)
            open_ = requested
        return self._respond(pairs, rejected, plan)

    def _cut(self, context: str, maximum: int) -> list[Passage]:
        """Cuts a text; of too many passages some are taken, spread evenly."""
        passages = self._reader.fit(cut_context(context, self._settings.passage_characters))
        count = min(maximum, len(passages))
        return [passages[index * len(passages) // count] for index in range(count)]

    async def _ask_about(
        self, passages: Sequence[Passage], chosen: Sequence[tuple[int, int]], variant: int, seed: int, call: Call
    ) -> tuple[list[_Pair], list[tuple[int, int]], int]:
        """Writes a question of each chosen kind about its passage.

        Returns:
            The pairs that hold; what there was to ask; and how many questions were not answered again.
        """
        kinds = self._settings.kinds
        readings = await self._reader.read_kinds([(kinds[kind], passages[index]) for index, kind in chosen], call)
        held = [each for each, reading in zip(chosen, readings, strict=True) if self._is_there(reading)]
        drafts = [
            Draft(reading, self._chance(seed, index * len(kinds) + kind, variant))
            for (index, kind), reading in zip(chosen, readings, strict=True)
            if self._is_there(reading)
        ]
        await self._writer.write(drafts, call, maximum=self._settings.question_tokens)
        pairs = await self._check(drafts, [kinds[kind] for _, kind in held], call)
        return pairs, held, len(drafts) - len(pairs)

    async def _check(self, drafts: Sequence[Draft], kinds: Sequence[str], call: Call) -> list[_Pair]:
        """Asks the questions again and returns those that hold."""
        requested = await call.offload(self._say_questions, drafts, kinds)
        again = await self._reader.read_pairs(
            [(question, draft.reading.passage) for draft, _, question in requested], call
        )
        held = [
            (draft, kind, question, Draft(reading, self._writer.likeliest()))
            for (draft, kind, question), reading in zip(requested, again, strict=True)
            if self._is_there(reading) and _is_same(draft.reading.evidence, reading.evidence)
        ]
        await self._writer.write([answer for *_, answer in held], call, maximum=self._settings.answer_tokens)
        return await call.offload(self._pair_up, held)

    def _pair_up(self, held: Sequence[tuple[Draft, str, str, Draft]]) -> list[_Pair]:
        return [
            _Pair(question, message, answer.reading.passage, answer.reading.evidence, kind, draft.score)
            for draft, kind, question, answer in held
            if answer.is_done and answer.reading.evidence and (message := answer.say(self._codec))
        ]

    def _say_questions(self, drafts: Sequence[Draft], kinds: Sequence[str]) -> list[tuple[Draft, str, str]]:
        requested = [(draft, kind, draft.say(self._codec)) for draft, kind in zip(drafts, kinds, strict=True)]
        return [
            (draft, kind, question) for draft, kind, question in requested if draft.is_done and split_words(question)
        ]

    def _is_there(self, reading: Reading) -> bool:
        """Whether the passage answers, by the reader's own measure."""
        is_likely = probability(self._settings, reading.answerable) >= self._settings.answerable_threshold
        return reading.evidence is not None and is_likely

    def _chance(self, seed: int, number: int, variant: int) -> Draw:
        """The first of each passage and kind is the likeliest, all others are drawn."""
        if not variant:
            return self._writer.likeliest()
        return self._writer.draw(seed, number * _VARIANTS + variant, 1)[0]

    def _respond(
        self, pairs: Sequence[_Pair], rejected: int, plan: QuestionsPlan
    ) -> answer_pb2.GenerateQuestionsResponse:
        response = answer_pb2.GenerateQuestionsResponse(rejected=rejected)
        response.info.seed = plan.seed
        for pair in sorted(pairs, key=_position):
            response.pairs.add(
                question=pair.question,
                answer=pair.answer,
                evidence=evidence_of(pair.passage, pair.evidence),
                kind=pair.kind,
                score=pair.score,
            )
        return response


def evidence_of(passage: Passage, span: Span) -> answer_pb2.Evidence:
    """Says where evidence stands: in its passage, or in the caller's text."""
    if passage.entry >= 0:
        return answer_pb2.Evidence(text=passage.text[span.start : span.end], start=span.start, end=span.end)
    first, last = passage.one_piece(span.start, span.end)
    start, end = passage.place(first, last)
    return answer_pb2.Evidence(text=passage.text[first:last], start=start, end=end)


def _rounds(open_: Sequence[tuple[int, int]], passages: int) -> Iterator[list[tuple[int, int]]]:
    """Yields what is tried at a time: each round is spread over the whole text."""
    rounds = -(-passages // _PASSAGES_PER_ROUND)
    for number in range(rounds):
        if chosen := [(index, kind) for index, kind in open_ if index % rounds == number]:
            yield chosen


def _spread(pairs: Sequence[_Pair], count: int) -> list[_Pair]:
    """Chooses some, one of each passage before a second of any."""
    seen: Counter[Passage] = Counter()
    ranked = []
    for order, pair in enumerate(pairs):
        ranked.append((seen[pair.passage], order, pair))
        seen[pair.passage] += 1
    return [pair for *_, pair in sorted(ranked, key=lambda each: each[:2])[:count]]


def _position(pair: _Pair) -> tuple[int, int]:
    return pair.passage.place(*pair.passage.one_piece(pair.evidence.start, pair.evidence.end))


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
    return 2 * common >= _MIN_OVERLAP * (first.end - first.start + second.end - second.start)
