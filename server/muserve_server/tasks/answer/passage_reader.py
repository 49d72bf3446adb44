"""Runs the reader graph over pairs of question and passage, in batches that fit the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from muserve.v1 import manifest_pb2
from muserve_server.rows import Rows
from muserve_server.tasks.answer.limits import AnswerLimits
from muserve_server.tasks.answer.passages import Passage
from muserve_server.tasks.answer.span_reader import Reading, ask_tokens, reader_rows, split_readings
from muserve_server.tasks.answer.text import TextCodec, Tokens
from muserve_server.tasks.kind import Call

__all__ = ["PassageReader"]

_ROWS_PER_RUN = 32


class PassageReader:
    """Encodes pairs of question and passage and runs the reader graph over them."""

    def __init__(self, settings: manifest_pb2.AnswerSettings, codec: TextCodec, limits: AnswerLimits) -> None:
        self._settings = settings
        self._codec = codec
        # Every run must fit into the queue, as calls of that many samples do.
        self._rows_per_run = min(_ROWS_PER_RUN, limits.max_samples_per_call)

    def cut_question(self, question: str) -> str:
        """Truncates a question to the maximum number of question tokens."""
        tokens = self._encode_question(question)
        return question[: tokens.places[-1][1]] if tokens.places else ""

    def fit(self, passages: Sequence[Passage]) -> list[Passage]:
        """Splits passages that have more than the maximum number of passage tokens."""
        fitting: list[Passage] = []
        maximum = self._settings.passage_tokens
        for passage in passages:
            rest = passage
            while len(tokens := self._codec.encode(rest.text)) > maximum:
                at = tokens.places[maximum][0]
                if at <= len(rest.heading):
                    break  # the heading alone fills the passage
                first, rest = rest.split(at)
                fitting.append(first)
            fitting.append(rest)
        return fitting

    async def read_question(self, question: str, passages: Sequence[Passage], call: Call) -> list[Reading]:
        """Runs the reader over one question and several passages."""
        return await self.read_pairs([(question, passage) for passage in passages], call)

    async def read_pairs(self, pairs: Sequence[tuple[str, Passage]], call: Call) -> list[Reading]:
        """Runs the reader over pairs of (question, passage)."""
        return await self._read(self._encode_question, pairs, call)

    async def read_kinds(self, pairs: Sequence[tuple[str, Passage]], call: Call) -> list[Reading]:
        """Runs the reader over pairs of (kind of question, passage), to generate questions."""
        return await self._read(self._encode_kind, pairs, call)

    async def _read(
        self, encode: Callable[[str], Tokens], pairs: Sequence[tuple[str, Passage]], call: Call
    ) -> list[Reading]:
        readings: list[Reading] = []
        for first in range(0, len(pairs), self._rows_per_run):
            part = pairs[first : first + self._rows_per_run]
            questions, tokens, rows = await call.offload(self._prepare, encode, part)
            outputs = await call.infer(self._settings.reader, rows)
            passages = [passage for _, passage in part]
            readings += await call.offload(split_readings, rows, outputs, questions, passages, tokens)
        return readings

    def _prepare(
        self, encode: Callable[[str], Tokens], pairs: Sequence[tuple[str, Passage]]
    ) -> tuple[list[Tokens], list[Tokens], Rows]:
        """Encodes the pairs and builds the input rows."""
        questions = [encode(question) for question, _ in pairs]
        tokens = [self._codec.encode(passage.text).cut(self._settings.passage_tokens) for _, passage in pairs]
        return questions, tokens, reader_rows(self._settings, questions, tokens)

    def _encode_question(self, question: str) -> Tokens:
        return self._codec.encode(question).cut(self._settings.question_tokens)

    def _encode_kind(self, kind: str) -> Tokens:
        return ask_tokens(self._codec, kind).cut(self._settings.question_tokens)
