"""Questions and passages as rows of the reader, and what it says of them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_server.tasks.answer.passages import Passage
from muserve_server.tasks.answer.text import BEGIN, END, PADDING, TextCodec, Tokens
from muserve_server.tasks.base import Rows

__all__ = ["Reading", "Span", "ask_tokens", "find_span", "probability", "reader_rows", "split_readings"]

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
    """Question and passage as the writer takes them: [source token]."""
    tensors: Rows
    """What the reader gave: memory, hidden, cell, each a row."""
    answerable: float
    """Logit of whether the passage answers the question."""
    evidence: Span | None
    """Where; None if the passage has no token."""
    passage_length: int
    """Tokens of the source that are the passage's, padding too."""


def ask_tokens(codec: TextCodec, kind: str) -> Tokens:
    """What stands in place of a question where one is to be written: a mark, and what kind."""
    tokens = codec.encode(kind)
    return Tokens(kind, (BEGIN, *tokens.ids), ((0, 0), *tokens.places), (True, *tokens.spaced))


def reader_rows(
    settings: manifest_pb2.AnswerSettings, questions: Sequence[Tokens], passages: Sequence[Tokens]
) -> dict[str, NDArray[Any]]:
    """Writes rows for the reader.

    Args:
        settings: Sizes.
        questions: Of each row, cut to question_tokens.
        passages: Of each row, cut to passage_tokens.
    """
    rows = len(questions)
    asked = np.full((rows, settings.question_tokens + 1), PADDING, np.int64)
    read = np.full((rows, settings.passage_tokens), PADDING, np.int64)
    for row, (question, passage) in enumerate(zip(questions, passages, strict=True)):
        asked[row, : len(question) + 1] = [*question.ids, END]
        read[row, : len(passage)] = passage.ids
    return {"question": asked, "passage": read}


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
        ValueError: The outputs are no numbers.
    """
    if not all(np.isfinite(outputs[name]).all() for name in ("memory", "hidden", "cell", "answerable", "start", "end")):
        raise ValueError("the reader gave values that are no numbers")
    source = np.concatenate([rows["question"], rows["passage"]], axis=1)
    return [
        Reading(
            question=questions[row],
            passage=passages[row],
            tokens=tokens[row],
            source=source[row],
            # Copies, so that one row that is kept does not keep the others.
            tensors={name: outputs[name][row].copy() for name in ("memory", "hidden", "cell")},
            answerable=float(outputs["answerable"][row]),
            evidence=find_span(outputs["start"][row], outputs["end"][row], tokens[row]),
            passage_length=rows["passage"].shape[1],
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
