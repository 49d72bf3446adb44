"""Word overlap of an answer and the true one, as in SQuAD's evaluation."""

from __future__ import annotations

import re
import string
from collections import Counter
from collections.abc import Sequence

from muserve_server.tasks.answer.text import SPECIAL

__all__ = ["normalise", "token_f1", "token_f1s", "word_f1"]

_ARTICLES = re.compile(r"\b(?:a|an|the)\b")
_MARKS = str.maketrans("", "", string.punctuation)


def normalise(text: str) -> list[str]:
    """Returns a text's words as SQuAD's evaluation normalises them: lower case, no punctuation, no articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_MARKS)).split()


def word_f1(prediction: str, reference: str) -> float:
    """Returns the F1 of words, as Rajpurkar et al., "SQuAD", 2016; two empty texts agree."""
    return token_f1(normalise(prediction), normalise(reference))


def token_f1(prediction: Sequence[object], reference: Sequence[object]) -> float:
    """Returns the F1 of two multisets of tokens."""
    if not prediction or not reference:
        return float(len(prediction) == len(reference))
    common = (Counter(prediction) & Counter(reference)).total()
    return 2 * common / (len(prediction) + len(reference))


def token_f1s(prediction: Sequence[Sequence[int]], reference: Sequence[Sequence[int]]) -> list[float]:
    """Returns the F1 of each row's tokens, without special tokens."""
    first_word = len(SPECIAL)
    return [
        token_f1([token for token in one if token >= first_word], [token for token in other if token >= first_word])
        for one, other in zip(prediction, reference, strict=True)
    ]
