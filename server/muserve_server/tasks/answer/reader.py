"""Reads questions beside passages: rows of the reader, in runs that fit the queue."""

from __future__ import annotations

from collections.abc import Sequence

from muserve.v1 import manifest_pb2
from muserve_server.tasks.answer.passages import Passage
from muserve_server.tasks.answer.reading import Reading, ask_tokens, reader_rows, split_readings
from muserve_server.tasks.answer.text import TextCodec, Tokens
from muserve_server.tasks.base import Call, TaskLimits

__all__ = ["PassageReader"]

_ROWS_PER_RUN = 32


class PassageReader:
    """Turns questions and passages into readings."""

    def __init__(self, settings: manifest_pb2.AnswerSettings, codec: TextCodec, limits: TaskLimits) -> None:
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
        most = self._settings.passage_tokens
        for passage in passages:
            rest = passage
            while len(tokens := self._codec.encode(rest.text)) > most:
                at = tokens.places[most][0]
                if at <= len(rest.heading):
                    break  # names that are longer than all that is read
                first, rest = rest.split(at)
                fitting.append(first)
            fitting.append(rest)
        return fitting

    async def read_question(self, question: str, passages: Sequence[Passage], call: Call) -> list[Reading]:
        """Reads one question beside several passages."""
        asked = await call.offload(self._encode_question, question)
        return await self._read([asked] * len(passages), passages, call)

    async def read_pairs(self, pairs: Sequence[tuple[str, Passage]], call: Call) -> list[Reading]:
        """Reads questions, each beside a passage of its own."""
        asked = await call.offload(lambda: [self._encode_question(question) for question, _ in pairs])
        return await self._read(asked, [passage for _, passage in pairs], call)

    async def read_kinds(self, pairs: Sequence[tuple[str, Passage]], call: Call) -> list[Reading]:
        """Reads passages to ask about them: of each pair a kind of question and a passage."""
        most = self._settings.question_tokens
        asked = await call.offload(lambda: [ask_tokens(self._codec, kind).cut(most) for kind, _ in pairs])
        return await self._read(asked, [passage for _, passage in pairs], call)

    def _encode_question(self, question: str) -> Tokens:
        return self._codec.encode(question).cut(self._settings.question_tokens)

    async def _read(self, asked: Sequence[Tokens], passages: Sequence[Passage], call: Call) -> list[Reading]:
        found: list[Reading] = []
        for first in range(0, len(asked), self._rows_per_run):
            part = slice(first, first + self._rows_per_run)
            tokens = await call.offload(self._encode_passages, passages[part])
            rows = await call.offload(reader_rows, self._settings, asked[part], tokens)
            outputs = await call.infer(self._settings.reader, rows)
            found += await call.offload(split_readings, rows, outputs, asked[part], passages[part], tokens)
        return found

    def _encode_passages(self, passages: Sequence[Passage]) -> list[Tokens]:
        return [self._codec.encode(passage.text).cut(self._settings.passage_tokens) for passage in passages]
