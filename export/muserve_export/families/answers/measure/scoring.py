"""How like an answer is to the true one: word overlap as in SQuAD, n-grams as in BLEU, sequences as in ROUGE-L."""

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
    """Returns a text's words as SQuAD's evaluation takes them: small letters, no marks, no articles."""
    return _ARTICLES.sub(" ", text.lower().translate(_MARKS)).split()


def word_f1(found: str, wanted: str) -> float:
    """F1 of words, as Rajpurkar et al., "SQuAD", 2016; two empty texts agree."""
    return token_f1(normalise(found), normalise(wanted))


def token_f1(found: Sequence[object], wanted: Sequence[object]) -> float:
    """F1 of any tokens, each as often as it stands."""
    if not found or not wanted:
        return float(len(found) == len(wanted))
    common = (Counter(found) & Counter(wanted)).total()
    return 2 * common / (len(found) + len(wanted))


def token_f1s(found: Sequence[Sequence[int]], wanted: Sequence[Sequence[int]]) -> list[float]:
    """F1 of each row's vocabulary tokens, without those that stand for no text."""
    least = len(SPECIAL)
    return [
        token_f1([token for token in one if token >= least], [token for token in other if token >= least])
        for one, other in zip(found, wanted, strict=True)
    ]
