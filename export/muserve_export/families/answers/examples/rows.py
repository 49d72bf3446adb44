"""Converts examples to tensors: rows of one question, one passage and one answer.

Rows for question generation have the token `BEGIN` and the name of a kind as question, the span that answers the wanted
question as evidence, and that question as answer.
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
    """One training example in tokens."""

    question: tuple[int, ...]
    """Tokens of the question, with END."""
    passage: tuple[int, ...]
    """Tokens of the passage."""
    answer: tuple[int, ...]
    """Tokens of the answer, with END; empty if there is no answer."""
    copied: tuple[tuple[int, int], ...]
    """Source and position that each answer token is copied from; (-1, -1) if it is generated."""
    evidence: tuple[int, int] | None
    """First and last token of the evidence."""


class Batch(NamedTuple):
    """Rows, padded to the same lengths."""

    question: Tensor
    """int64 [row, question token], padded with 0."""
    passage: Tensor
    """int64 [row, passage token], padded with 0."""
    written: Tensor
    """Previous token of each step, BEGIN first: int64 [row, step]."""
    places: Tensor
    """Its position in question and passage, concatenated, if it was copied, else -1: int64 [row, step]."""
    wanted: Tensor
    """Target token of each step, padded with 0: int64 [row, step]."""
    answerable: Tensor
    """1 or 0: float32 [row]."""
    start: Tensor
    """First token of the evidence, -1 if there is none: int64 [row]."""
    end: Tensor
    """Last token of the evidence, -1 if there is none: int64 [row]."""


def make_row(
    codec: TextCodec,
    question: Tokens,
    passage: Tokens,
    answer: str,
    evidence: tuple[int, int] | None,
    *,
    max_tokens: int,
) -> Row:
    """Makes a row.

    Args:
        codec: Tokenizes the answer.
        question: The question, truncated.
        passage: The passage, truncated.
        answer: The answer; "" if the passage has none.
        evidence: Character span in the passage that the answer rests on, end exclusive.
        max_tokens: Maximum length of the answer.
    """
    covered = passage.covering(*evidence) if evidence else None
    span = (covered[0], covered[1] - 1) if covered else None
    question_ids = (*question.ids, END)  # so that the passage's first word does not follow the question's last
    if not answer:
        return Row(question_ids, passage.ids, (), (), None)
    tokens = codec.encode(answer).cut(max_tokens - 1)
    copied = _align(tokens, question, passage, span)
    return Row(question_ids, passage.ids, (*tokens.ids, END), (*copied, (NOTHING, NOTHING)), span)


def pad_rows(rows: Sequence[Row]) -> Batch:
    """Pads rows into a batch."""
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
    """Pads sequences to the same length, at least 1: int64 [sequence, token]."""
    length = max(1, *(len(sequence) for sequence in sequences), 1)
    return torch.tensor([[*sequence, *[filling] * (length - len(sequence))] for sequence in sequences])


def _align(answer: Tokens, question: Tokens, passage: Tokens, span: tuple[int, int] | None) -> list[tuple[int, int]]:
    """Aligns each answer token with what it is copied from: the longest spans, preferably in the evidence."""
    sources: list[tuple[int, int]] = []
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
            goes_on = bool(sources) and sources[-1] == (source, place - 1)
            if not length or (length == 1 and not is_evidence and not goes_on and not _is_telling(tokens, place)):
                continue
            # Of pieces as long as each other: of the evidence, behind the last, earliest.
            best = max(best, (length, 2 * is_evidence + goes_on, source, -place))
        length, _, source, place = best[0], best[1], best[2], -best[3]
        if length:
            sources += [(source, place + step) for step in range(length)]
        else:
            sources.append((NOTHING, NOTHING))
        position += max(1, length)
    return sources


def _common(first: Tokens, start: int, second: Tokens, place: int) -> int:
    """Returns how many tokens agree, starting at two positions."""
    length = 0
    while (
        start + length < len(first)
        and place + length < len(second)
        and _is_same(first, start + length, second, place + length)
    ):
        length += 1
    return length


def _is_same(first: Tokens, start: int, second: Tokens, place: int) -> bool:
    """Returns whether two tokens are the same; unknown ones by their text."""
    if first.ids[start] != second.ids[place]:
        return False
    texts = (tokens.text[slice(*tokens.places[each])] for tokens, each in ((first, start), (second, place)))
    return first.ids[start] != UNKNOWN or len(set(texts)) == 1


def _is_telling(tokens: Tokens, place: int) -> bool:
    """Returns whether a single word is worth copying: a name or number, not "is" or part of another word."""
    start, end = tokens.places[place]
    is_whole = not tokens.text[end : end + 1].isalnum() and not tokens.text[max(0, start - 1) : start].isalnum()
    return is_whole and (tokens.text[start].isupper() or tokens.text[start].isdigit())
