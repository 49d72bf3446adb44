"""Question generation with a round-trip filter: a question is kept if the reader finds its evidence again."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from muserve.v1 import answer_pb2, manifest_pb2
from muserve_server.tasks.answer.decoder import Draft, Draw, TextDecoder
from muserve_server.tasks.answer.passage_reader import PassageReader
from muserve_server.tasks.answer.passages import Passage, cut_context
from muserve_server.tasks.answer.requests import QuestionsPlan
from muserve_server.tasks.answer.search import split_words
from muserve_server.tasks.answer.span_reader import Reading, Span, probability
from muserve_server.tasks.answer.text import TextCodec
from muserve_server.tasks.kind import Call

__all__ = ["QuestionGenerator", "evidence_of"]

_PASSAGES_PER_ROUND = 8
_MAX_CALLS = 16
"""Calls in a round at a time: each holds up to 10 MiB; others wait in turn."""
_MAX_PASSAGES, _PASSAGES_PER_QUESTION = 64, 4
_VARIANTS = 3
"""Attempts at each pair of passage and kind, while there are too few questions."""
_MIN_OVERLAP = 0.7
"""Minimum character F1 of the evidence that a question was generated from and the evidence that answers it."""


@dataclass(frozen=True)
class _Pair:
    """A question that passed the round-trip filter, with its answer."""

    question: str
    answer: str
    passage: Passage
    evidence: Span
    kind: str
    score: float


class QuestionGenerator:
    """Generates questions that a text answers."""

    def __init__(
        self, settings: manifest_pb2.AnswerSettings, codec: TextCodec, reader: PassageReader, decoder: TextDecoder
    ) -> None:
        self._settings = settings
        self._codec = codec
        self._reader = reader
        self._decoder = decoder
        self._gate = asyncio.Semaphore(_MAX_CALLS)

    async def generate(self, context: str, plan: QuestionsPlan, call: Call) -> answer_pb2.GenerateQuestionsResponse:
        """Generates up to `plan.count` questions, spread over the text.

        Raises:
            MuserveError: The queue is full, the deadline has passed, or a graph failed.
        """
        passages = await call.offload(self._cut, context, max(_MAX_PASSAGES, _PASSAGES_PER_QUESTION * plan.count))
        # First every pair of passage and kind is tried, then again those that gave a question.
        candidates = [(index, kind) for index in range(len(passages)) for kind in range(len(self._settings.kinds))]
        pairs: list[_Pair] = []
        rejected = 0
        for variant in range(_VARIANTS):
            answerable: list[tuple[int, int]] = []
            for chosen in _rounds(candidates, len(passages)):
                async with self._gate:
                    kept, tried, failed = await self._generate(passages, chosen, variant, plan.seed, call)
                rejected += failed
                answerable += tried
                pairs = await call.offload(_without_repeats, [*pairs, *kept])
                if len(pairs) >= plan.count:
                    return self._respond(_spread(pairs, plan.count), rejected, plan)
            candidates = answerable
        return self._respond(pairs, rejected, plan)

    def _cut(self, context: str, maximum: int) -> list[Passage]:
        """Cuts a text into passages; if there are too many, evenly spaced ones are taken."""
        passages = self._reader.fit(cut_context(context, self._settings.passage_characters))
        count = min(maximum, len(passages))
        return [passages[index * len(passages) // count] for index in range(count)]

    async def _generate(
        self, passages: Sequence[Passage], chosen: Sequence[tuple[int, int]], variant: int, seed: int, call: Call
    ) -> tuple[list[_Pair], list[tuple[int, int]], int]:
        """Generates a question for each pair of passage and kind.

        Returns:
            The pairs that passed the filter; the candidates that gave a question; and the number of rejected questions.
        """
        kinds = self._settings.kinds
        readings = await self._reader.read_kinds([(kinds[kind], passages[index]) for index, kind in chosen], call)
        tried = [each for each, reading in zip(chosen, readings, strict=True) if self._is_answerable(reading)]
        drafts = [
            Draft(reading, self._draw(seed, index * len(kinds) + kind, variant))
            for (index, kind), reading in zip(chosen, readings, strict=True)
            if self._is_answerable(reading)
        ]
        await self._decoder.decode(drafts, call, max_tokens=self._settings.question_tokens)
        pairs = await self._check(drafts, [kinds[kind] for _, kind in tried], call)
        return pairs, tried, len(drafts) - len(pairs)

    async def _check(self, drafts: Sequence[Draft], kinds: Sequence[str], call: Call) -> list[_Pair]:
        """Reads the generated questions and returns those whose evidence is found again."""
        generated = await call.offload(self._decode_questions, drafts, kinds)
        again = await self._reader.read_pairs(
            [(question, draft.reading.passage) for draft, _, question in generated], call
        )
        held = [
            (draft, kind, question, Draft(reading, self._decoder.greedy()))
            for (draft, kind, question), reading in zip(generated, again, strict=True)
            if self._is_answerable(reading) and _is_same(draft.reading.evidence, reading.evidence)
        ]
        await self._decoder.decode([answer for *_, answer in held], call, max_tokens=self._settings.answer_tokens)
        return await call.offload(self._pair_up, held)

    def _pair_up(self, held: Sequence[tuple[Draft, str, str, Draft]]) -> list[_Pair]:
        return [
            _Pair(question, text, answer.reading.passage, answer.reading.evidence, kind, draft.score)
            for draft, kind, question, answer in held
            if answer.is_done and answer.reading.evidence and (text := answer.text(self._codec))
        ]

    def _decode_questions(self, drafts: Sequence[Draft], kinds: Sequence[str]) -> list[tuple[Draft, str, str]]:
        generated = [(draft, kind, draft.text(self._codec)) for draft, kind in zip(drafts, kinds, strict=True)]
        return [
            (draft, kind, question) for draft, kind, question in generated if draft.is_done and split_words(question)
        ]

    def _is_answerable(self, reading: Reading) -> bool:
        """Whether the passage answers the question, by the threshold of the model."""
        is_likely = probability(self._settings, reading.answerable) >= self._settings.answerable_threshold
        return reading.evidence is not None and is_likely

    def _draw(self, seed: int, number: int, variant: int) -> Draw:
        """The first question of each passage and kind is decoded greedily, others are sampled."""
        if not variant:
            return self._decoder.greedy()
        return self._decoder.draw(seed, number * _VARIANTS + variant, 1)[0]

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
    """Returns a span as evidence: with offsets in its passage, or in the caller's text."""
    if passage.entry >= 0:
        return answer_pb2.Evidence(text=passage.text[span.start : span.end], start=span.start, end=span.end)
    first, last = passage.one_piece(span.start, span.end)
    start, end = passage.place(first, last)
    return answer_pb2.Evidence(text=passage.text[first:last], start=start, end=end)


def _rounds(candidates: Sequence[tuple[int, int]], passages: int) -> Iterator[list[tuple[int, int]]]:
    """Yields the candidates of each round; each round is spread over the whole text."""
    rounds = -(-passages // _PASSAGES_PER_ROUND)
    for number in range(rounds):
        if chosen := [(index, kind) for index, kind in candidates if index % rounds == number]:
            yield chosen


def _spread(pairs: Sequence[_Pair], count: int) -> list[_Pair]:
    """Chooses pairs round-robin over the passages."""
    seen: Counter[Passage] = Counter()
    ranked = []
    for order, pair in enumerate(pairs):
        ranked.append((seen[pair.passage], order, pair))
        seen[pair.passage] += 1
    return [pair for *_, pair in sorted(ranked, key=lambda each: each[:2])[:count]]


def _position(pair: _Pair) -> tuple[int, int]:
    return pair.passage.place(*pair.passage.one_piece(pair.evidence.start, pair.evidence.end))


def _without_repeats(pairs: Sequence[_Pair]) -> list[_Pair]:
    """Drops duplicates: pairs with the same words, or with the same kind and evidence."""
    kept: list[_Pair] = []
    seen: set[object] = set()
    for pair in pairs:
        same_words, same_piece = " ".join(split_words(pair.question)), (pair.kind, _position(pair))
        if same_words not in seen and same_piece not in seen:
            seen |= {same_words, same_piece}
            kept.append(pair)
    return kept


def _is_same(first: Span | None, second: Span | None) -> bool:
    """Whether two spans agree, by character F1."""
    if first is None or second is None:
        return False
    common = min(first.end, second.end) - max(first.start, second.start)
    return 2 * common >= _MIN_OVERLAP * (first.end - first.start + second.end - second.start)
