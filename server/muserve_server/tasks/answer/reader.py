"""Reads questions beside passages: rows of the reader, in runs that fit the queue."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from muserve.v1 import manifest_pb2
from muserve_server.rows import Rows
from muserve_server.tasks.answer.limits import AnswerLimits
from muserve_server.tasks.answer.passages import Passage
from muserve_server.tasks.answer.reading import Reading, ask_tokens, reader_rows, split_readings
from muserve_server.tasks.answer.text import TextCodec, Tokens
from muserve_server.tasks.kind import Call

__all__ = ["PassageReader"]

_ROWS_PER_RUN = 32


class PassageReader:
    """Turns questions and passages into readings."""

    def __init__(self, settings: manifest_pb2.AnswerSettings, codec: TextCodec, limits: AnswerLimits) -> None:
        self._settings = settings
        self._codec = codec
        # Every run must fit into the queue, as calls of that many samples do.
        self._rows_per_run = min(_ROWS_PER_RUN, limits.max_samples_per_call)

    def cut_question(self, question: str) -> str:
        """Returns what is read of a question: its first tokens."""
        tokens = self._encode_question(question)
        return question[: tokens.places[-1][1]] if tokens.places else ""

    def fit(self, passages: Sequence[Passage]) -> list[Passage]:
        """Cuts passages that have more tokens than are read at once."""
        fitting: list[Passage] = []
        maximum = self._settings.passage_tokens
        for passage in passages:
            rest = passage
            while len(tokens := self._codec.encode(rest.text)) > maximum:
                at = tokens.places[maximum][0]
                if at <= len(rest.heading):
                    break  # names that are longer than all that is read
                first, rest = rest.split(at)
                fitting.append(first)
            fitting.append(rest)
        return fitting

    async def read_question(self, question: str, passages: Sequence[Passage], call: Call) -> list[Reading]:
        """Reads one question beside several passages."""
        return await self.read_pairs([(question, passage) for passage in passages], call)

    async def read_pairs(self, pairs: Sequence[tuple[str, Passage]], call: Call) -> list[Reading]:
        """Reads questions, each beside a passage of its own."""
        return await self._read(self._encode_question, pairs, call)

    async def read_kinds(self, pairs: Sequence[tuple[str, Passage]], call: Call) -> list[Reading]:
        """Reads passages to ask about them: of each pair a kind of question and a passage."""
        return await self._read(self._encode_kind, pairs, call)

    async def _read(
        self, encode: Callable[[str], Tokens], pairs: Sequence[tuple[str, Passage]], call: Call
    ) -> list[Reading]:
        found: list[Reading] = []
        for first in range(0, len(pairs), self._rows_per_run):
            part = pairs[first : first + self._rows_per_run]
            requested, tokens, rows = await call.offload(self._prepare, encode, part)
            outputs = await call.infer(self._settings.reader, rows)
            passages = [passage for _, passage in part]
            found += await call.offload(split_readings, rows, outputs, requested, passages, tokens)
        return found

    def _prepare(
        self, encode: Callable[[str], Tokens], pairs: Sequence[tuple[str, Passage]]
    ) -> tuple[list[Tokens], list[Tokens], Rows]:
        """Encodes what is asked and what is read, and makes rows of it."""
        requested = [encode(question) for question, _ in pairs]
        tokens = [self._codec.encode(passage.text).cut(self._settings.passage_tokens) for _, passage in pairs]
        return requested, tokens, reader_rows(self._settings, requested, tokens)

    def _encode_question(self, question: str) -> Tokens:
        return self._codec.encode(question).cut(self._settings.question_tokens)

    def _encode_kind(self, kind: str) -> Tokens:
        return ask_tokens(self._codec, kind).cut(self._settings.question_tokens)
