"""Input rows of the reader graph and its outputs: encoder states, answerability and the evidence span."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_server.rows import Rows
from muserve_server.tasks.answer.passages import Passage
from muserve_server.tasks.answer.text import BEGIN, END, PADDING, TextCodec, Tokens

__all__ = [
    "Reading",
    "Span",
    "ask_tokens",
    "filled_length",
    "find_span",
    "probability",
    "reader_lengths",
    "reader_rows",
    "split_readings",
]

_MAX_EVIDENCE_TOKENS = 60
"""Maximum length of an evidence span, in tokens."""


@dataclass(frozen=True)
class Span:
    """An evidence span of a passage, in characters."""

    start: int
    """Index of the first character."""
    end: int
    """Index after the last character."""


@dataclass(frozen=True)
class Reading:
    """The reader's outputs for one pair of question and passage."""

    question: Tokens
    """The question, truncated."""
    passage: Passage
    """The passage."""
    tokens: Tokens
    """Tokens of the passage, truncated."""
    source: NDArray[np.int64]
    """Source token ids of the decoder: question, end of sequence, passage; [source token]."""
    memory: NDArray[np.float32]
    """Encoder states of these tokens: [source token, state]."""
    hidden: NDArray[np.float32]
    """Initial hidden state of the decoder: [state]."""
    cell: NDArray[np.float32]
    """Initial cell state of the decoder: [state]."""
    answerable: float
    """Logit of whether the passage answers the question."""
    evidence: Span | None
    """The most likely evidence span; None if the passage has no token."""

    @property
    def passage_start(self) -> int:
        """Index of the passage's first token in the source."""
        return len(self.question) + 1


def ask_tokens(codec: TextCodec, kind: str) -> Tokens:
    """Returns the prompt of question generation, which takes a question's place: [BOS] and the kind of question."""
    tokens = codec.encode(kind)
    return Tokens(kind, (BEGIN, *tokens.ids), ((0, 0), *tokens.places), (True, *tokens.spaced))


def reader_lengths(settings: manifest_pb2.AnswerSettings, question: int, passage: int) -> tuple[int, int]:
    """Returns the lengths that questions and passages are padded to.

    Args:
        settings: With the steps between two lengths.
        question: Tokens of the longest question, with its end of sequence.
        passage: Tokens of the longest passage.
    """
    return filled_length(question, settings.question_step), filled_length(passage, settings.passage_step)


def filled_length(length: int, step: int) -> int:
    """Rounds a length up to a multiple of a step, at least one step."""
    return max(1, -(-length // step)) * step


def reader_rows(
    settings: manifest_pb2.AnswerSettings, questions: Sequence[Tokens], passages: Sequence[Tokens]
) -> dict[str, NDArray[Any]]:
    """Builds input rows of the reader, padded only to the longest of them: short texts take a fraction of the time.

    Args:
        settings: With the steps between two lengths.
        questions: One a row.
        passages: One a row.
    """
    rows = len(questions)
    question_length, passage_length = reader_lengths(settings, 1 + max(map(len, questions)), max(map(len, passages)))
    question_ids = np.full((rows, question_length), PADDING, np.int64)
    passage_ids = np.full((rows, passage_length), PADDING, np.int64)
    for row, (question, passage) in enumerate(zip(questions, passages, strict=True)):
        question_ids[row, : len(question) + 1] = [*question.ids, END]
        passage_ids[row, : len(passage)] = passage.ids
    return {"question": question_ids, "passage": passage_ids}


def split_readings(
    rows: Rows, outputs: Rows, questions: Sequence[Tokens], passages: Sequence[Passage], tokens: Sequence[Tokens]
) -> list[Reading]:
    """Splits a batch of the reader's outputs into one reading a row.

    Args:
        rows: Inputs of the graph.
        outputs: Outputs of the graph.
        questions: One a row.
        passages: One a row.
        tokens: Tokens of the passages, one a row.

    Raises:
        ValueError: The outputs have NaN or infinity.
    """
    if not all(np.isfinite(outputs[name]).all() for name in ("memory", "hidden", "cell", "answerable", "start", "end")):
        raise ValueError("the reader returned NaN or infinity")
    source = np.concatenate([rows["question"], rows["passage"]], axis=1)
    length = rows["question"].shape[1]
    unpadded = [
        [*range(len(question) + 1), *range(length, length + len(passage))]
        for question, passage in zip(questions, tokens, strict=True)
    ]
    return [
        Reading(
            question=questions[row],
            passage=passages[row],
            tokens=tokens[row],
            # Copies: a view would keep the whole batch in memory.
            source=source[row][unpadded[row]],
            memory=outputs["memory"][row][unpadded[row]],
            hidden=outputs["hidden"][row].copy(),
            cell=outputs["cell"][row].copy(),
            answerable=float(outputs["answerable"][row]),
            evidence=find_span(outputs["start"][row], outputs["end"][row], tokens[row]),
        )
        for row in range(len(questions))
    ]


def probability(settings: manifest_pb2.AnswerSettings, logit: float) -> float:
    """Returns the calibrated probability that the passage answers the question."""
    value = (settings.answerable_scale or 1.0) * logit + settings.answerable_offset
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, value))))


def find_span(start: NDArray[np.float32], end: NDArray[np.float32], tokens: Tokens) -> Span | None:
    """Returns the most likely span: the start and end with the highest sum of logits, in order and not too far apart.

    Args:
        start: Start logits, [token].
        end: End logits, [token].
        tokens: Tokens of the passage.
    """
    count = len(tokens)
    if not count:
        return None
    scores = start[:count, None] + end[None, :count]
    distance = np.arange(count)[None] - np.arange(count)[:, None]
    scores = np.where((distance >= 0) & (distance < _MAX_EVIDENCE_TOKENS), scores, -np.inf)
    first, last = np.unravel_index(int(scores.argmax()), scores.shape)
    return Span(tokens.places[int(first)][0], tokens.places[int(last)][1])
