"""From examples to tensors: rows of one question, one passage and one answer.

A row may also learn to ask: then its question is the mark `BEGIN` and a kind's name, its evidence what the question is
to be answered by, and its answer the question.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from muserve_server.tasks.answer.text import BEGIN, END, NOTHING, PADDING, UNKNOWN, TextCodec, Tokens

__all__ = ["Batch", "Row", "make_row", "pad_rows", "pad_tokens"]

_QUESTION, _PASSAGE = 0, 1


@dataclass(frozen=True)
class Row:
    """One thing to learn, in tokens."""

    question: tuple[int, ...]
    """Tokens of what is asked, END at the end."""
    passage: tuple[int, ...]
    """Tokens of what is read."""
    answer: tuple[int, ...]
    """Tokens of what is to be written, END at the end; empty if there is no answer."""
    copied: tuple[tuple[int, int], ...]
    """For each of them which source and which token it is copied from; (-1, -1) where it is worded."""
    evidence: tuple[int, int] | None
    """First and last token of the evidence."""


class Batch(NamedTuple):
    """Rows of one size."""

    question: Tensor
    """int64 [row, question token], 0 behind the end."""
    passage: Tensor
    """int64 [row, passage token], 0 behind the end."""
    written: Tensor
    """What was written before each step, BEGIN first: int64 [row, step]."""
    places: Tensor
    """Where in question and passage, one behind the other, that was copied from; -1 where it was not: [row, step]."""
    wanted: Tensor
    """What is to be written at each step, 0 behind the end: int64 [row, step]."""
    answerable: Tensor
    """1 or 0: float32 [row]."""
    start: Tensor
    """First token of the evidence, -1 if there is none: int64 [row]."""
    end: Tensor
    """Its last, -1 if there is none: int64 [row]."""


def make_row(
    codec: TextCodec, question: Tokens, passage: Tokens, answer: str, evidence: tuple[int, int] | None, *, most: int
) -> Row:
    """Puts a row together.

    Args:
        codec: Splits the answer.
        question: What is asked, cut to its length.
        passage: What is read, cut to its length.
        answer: What is to be written; "" if the passage does not answer.
        evidence: First character in the passage of what the answer rests on, and one after its last.
        most: Most tokens of the answer.
    """
    covered = passage.covering(*evidence) if evidence else None
    span = (covered[0], covered[1] - 1) if covered else None
    asked = (*question.ids, END)  # so that the passage's first word does not follow the question's last
    if not answer:
        return Row(asked, passage.ids, (), (), None)
    tokens = codec.encode(answer).cut(most - 1)
    copied = _align(tokens, question, passage, span)
    return Row(asked, passage.ids, (*tokens.ids, END), (*copied, (NOTHING, NOTHING)), span)


def pad_rows(rows: Sequence[Row]) -> Batch:
    """Fills rows up to one size."""
    question = pad_tokens([row.question for row in rows])
    offsets = {NOTHING: 0, _QUESTION: 0, _PASSAGE: question.shape[1]}
    written = [(BEGIN, *row.answer[:-1]) if row.answer else () for row in rows]
    places = [
        (NOTHING, *(offsets[source] + place for source, place in row.copied[:-1])) if row.answer else () for row in rows
    ]
    return Batch(
        question=question,
        passage=pad_tokens([row.passage for row in rows]),
        written=pad_tokens(written),
        places=pad_tokens(places, NOTHING),
        wanted=pad_tokens([row.answer for row in rows]),
        answerable=torch.tensor([float(bool(row.answer)) for row in rows]),
        start=torch.tensor([row.evidence[0] if row.evidence else NOTHING for row in rows]),
        end=torch.tensor([row.evidence[1] if row.evidence else NOTHING for row in rows]),
    )


def pad_tokens(sequences: Sequence[Sequence[int]], filling: int = PADDING) -> Tensor:
    """Fills sequences up to one length, at least 1: int64 [sequence, token]."""
    length = max(1, *(len(sequence) for sequence in sequences), 1)
    return torch.tensor([[*sequence, *[filling] * (length - len(sequence))] for sequence in sequences])


def _align(answer: Tokens, question: Tokens, passage: Tokens, span: tuple[int, int] | None) -> list[tuple[int, int]]:
    """Tells for each token of an answer where it is copied from: the longest pieces first, the evidence before all."""
    found: list[tuple[int, int]] = []
    where: dict[int, list[tuple[int, int]]] = defaultdict(list)
    for source, tokens in ((_PASSAGE, passage), (_QUESTION, question)):
        for place, token in enumerate(tokens.ids):
            where[token].append((source, place))
    position = 0
    while position < len(answer):
        best = (0, 0, NOTHING, 0)  # length, preference, source, place
        for source, place in where.get(answer.ids[position], ()):
            tokens = passage if source == _PASSAGE else question
            length = _common(answer, position, tokens, place)
            is_evidence = source == _PASSAGE and span is not None and span[0] <= place <= span[1]
            goes_on = bool(found) and found[-1] == (source, place - 1)
            if not length or (length == 1 and not is_evidence and not goes_on and not _is_telling(tokens, place)):
                continue
            # Of pieces as long as each other: of the evidence, behind the last, earliest.
            best = max(best, (length, 2 * is_evidence + goes_on, source, -place))
        length, _, source, place = best[0], best[1], best[2], -best[3]
        if length:
            found += [(source, place + step) for step in range(length)]
        else:
            found.append((NOTHING, NOTHING))
        position += max(1, length)
    return found


def _common(first: Tokens, start: int, second: Tokens, place: int) -> int:
    """How many tokens agree from two places on."""
    length = 0
    while (
        start + length < len(first)
        and place + length < len(second)
        and _is_same(first, start + length, second, place + length)
    ):
        length += 1
    return length


def _is_same(first: Tokens, start: int, second: Tokens, place: int) -> bool:
    """Whether two tokens are one; unknown ones by what they say."""
    if first.ids[start] != second.ids[place]:
        return False
    said = (tokens.text[slice(*tokens.places[each])] for tokens, each in ((first, start), (second, place)))
    return first.ids[start] != UNKNOWN or len(set(said)) == 1


def _is_telling(tokens: Tokens, place: int) -> bool:
    """Whether a single word is worth to be copied: names and numbers, not "is" nor the beginning of another word."""
    start, end = tokens.places[place]
    is_whole = not tokens.text[end : end + 1].isalnum() and not tokens.text[max(0, start - 1) : start].isalnum()
    return is_whole and (tokens.text[start].isupper() or tokens.text[start].isdigit())
