"""Questions and passages as rows of the reader, and what it says of them."""

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

_LONGEST_EVIDENCE = 60
"""In tokens."""


@dataclass(frozen=True)
class Span:
    """Evidence in a passage."""

    start: int
    """First character."""
    end: int
    """One after its last."""


@dataclass(frozen=True)
class Reading:
    """One question beside one passage, as it was read."""

    question: Tokens
    """What was asked, cut to its length."""
    passage: Passage
    """What was read."""
    tokens: Tokens
    """Its tokens, cut to their length."""
    source: NDArray[np.int64]
    """Question, its end, and passage, as the writer takes them: [source token]."""
    memory: NDArray[np.float32]
    """What each of these means: [source token, state]."""
    hidden: NDArray[np.float32]
    """Where the writer begins: [state]."""
    cell: NDArray[np.float32]
    """The same of its cells: [state]."""
    answerable: float
    """Logit of whether the passage answers the question."""
    evidence: Span | None
    """Where; None if the passage has no token."""

    @property
    def passage_start(self) -> int:
        """Which token of the source is the passage's first."""
        return len(self.question) + 1


def ask_tokens(codec: TextCodec, kind: str) -> Tokens:
    """What stands in place of a question where one is to be written: a mark, and what kind."""
    tokens = codec.encode(kind)
    return Tokens(kind, (BEGIN, *tokens.ids), ((0, 0), *tokens.places), (True, *tokens.spaced))


def reader_lengths(settings: manifest_pb2.AnswerSettings, question: int, passage: int) -> tuple[int, int]:
    """Finds the lengths that questions and passages are filled up to.

    Args:
        settings: Between two lengths.
        question: Tokens of the longest, its end too.
        passage: Tokens of the longest.
    """
    return filled_length(question, settings.question_step), filled_length(passage, settings.passage_step)


def filled_length(length: int, step: int) -> int:
    """Rounds a length up to a multiple of a step, at least one step."""
    return max(1, -(-length // step)) * step


def reader_rows(
    settings: manifest_pb2.AnswerSettings, questions: Sequence[Tokens], passages: Sequence[Tokens]
) -> dict[str, NDArray[Any]]:
    """Writes rows for the reader, filled up to one length: what is short is read in a fraction of the time.

    Args:
        settings: Between two lengths.
        questions: Of each row.
        passages: Of each row.
    """
    rows = len(questions)
    asked_length, read_length = reader_lengths(settings, 1 + max(map(len, questions)), max(map(len, passages)))
    requested = np.full((rows, asked_length), PADDING, np.int64)
    read = np.full((rows, read_length), PADDING, np.int64)
    for row, (question, passage) in enumerate(zip(questions, passages, strict=True)):
        requested[row, : len(question) + 1] = [*question.ids, END]
        read[row, : len(passage)] = passage.ids
    return {"question": requested, "passage": read}


def split_readings(
    rows: Rows, outputs: Rows, questions: Sequence[Tokens], passages: Sequence[Passage], tokens: Sequence[Tokens]
) -> list[Reading]:
    """Takes the reader's outputs apart.

    Args:
        rows: What it was given.
        outputs: What it gave.
        questions: Of each row.
        passages: Of each row.
        tokens: Of each row's passage.

    Raises:
        ValueError: The outputs have NaN or infinity.
    """
    if not all(np.isfinite(outputs[name]).all() for name in ("memory", "hidden", "cell", "answerable", "start", "end")):
        raise ValueError("the reader returned NaN or infinity")
    source = np.concatenate([rows["question"], rows["passage"]], axis=1)
    length = rows["question"].shape[1]
    there = [
        [*range(len(requested) + 1), *range(length, length + len(read))]
        for requested, read in zip(questions, tokens, strict=True)
    ]
    return [
        Reading(
            question=questions[row],
            passage=passages[row],
            tokens=tokens[row],
            # Copies, all of them, so that one row that is kept does not keep the others.
            source=source[row][there[row]],
            memory=outputs["memory"][row][there[row]],
            hidden=outputs["hidden"][row].copy(),
            cell=outputs["cell"][row].copy(),
            answerable=float(outputs["answerable"][row]),
            evidence=find_span(outputs["start"][row], outputs["end"][row], tokens[row]),
        )
        for row in range(len(questions))
    ]


def probability(settings: manifest_pb2.AnswerSettings, logit: float) -> float:
    """How likely it is that there is an answer, as fitted at export."""
    value = (settings.answerable_scale or 1.0) * logit + settings.answerable_offset
    return 1.0 / (1.0 + math.exp(-max(-60.0, min(60.0, value))))


def find_span(start: NDArray[np.float32], end: NDArray[np.float32], tokens: Tokens) -> Span | None:
    """Finds the likeliest evidence: the two ends whose logits are highest together, in order, not too far apart.

    Args:
        start: Of each token of the passage, [token].
        end: Of each token, [token].
        tokens: The passage's.
    """
    count = len(tokens)
    if not count:
        return None
    together = start[:count, None] + end[None, :count]
    distance = np.arange(count)[None] - np.arange(count)[:, None]
    together = np.where((distance >= 0) & (distance < _LONGEST_EVIDENCE), together, -np.inf)
    first, last = np.unravel_index(int(together.argmax()), together.shape)
    return Span(tokens.places[int(first)][0], tokens.places[int(last)][1])
