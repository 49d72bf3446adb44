"""Baselines without training: sentences copied from the context or from search hits."""

from __future__ import annotations

from collections.abc import Sequence

import bm25s

from muserve_export.families.answers.corpus.corpus import Corpus
from muserve_export.families.answers.corpus.triples import sentences
from muserve_export.families.answers.measure.scoring import normalise

__all__ = ["Bm25", "best_overlap", "first_sentence", "named_sentence"]

_ASKING = frozenset(
    (
        "about", "are", "by", "can", "could", "define", "definition", "describe", "did", "do", "does", "explain", "for",
        "give", "how", "in", "is", "it", "know", "mean", "meaning", "means", "me", "of", "on", "stand", "stands",
        "tell", "to", "was", "what", "when", "where", "which", "who", "you",
    )
)  # fmt: skip


def first_sentence(text: str) -> str:
    """Returns the first sentence of a text."""
    found = sentences(text)
    return found[0][1] if found else ""


def best_overlap(question: str, text: str) -> str:
    """Returns the sentence with the most words of a question, question words aside; the first of ties."""
    question_words = set(normalise(question)) - _ASKING
    found = [sentence for _, sentence in sentences(text)]
    return max(found, key=lambda sentence: len(question_words & set(normalise(sentence))), default="")


def named_sentence(question: str, passages: Sequence[str]) -> str:
    """Returns title and first sentence of the passage whose heading has the most words of a question."""
    question_words = set(normalise(question)) - _ASKING
    heading, text = max(
        map(_parted, passages), key=lambda parted: len(question_words & set(normalise(parted[0]))), default=("", "")
    )
    sentence_text = first_sentence(text)
    return sentence_text if sentence_text == heading else f"{heading.split(' (')[0]} {sentence_text}"


def _parted(passage: str) -> tuple[str, str]:
    heading, colon, text = passage.partition(": ")
    # Without a heading the first sentence is what names.
    return (heading, text) if colon and len(sentences(heading)) == 1 else (first_sentence(passage), passage)


class Bm25:
    """Plain BM25 over names and text."""

    def __init__(self, corpus: Corpus) -> None:
        self._corpus = corpus
        self._index = bm25s.BM25(backend="numpy")
        self._index.index([normalise(entry.context) for entry in corpus.entries], show_progress=False)

    def find(self, question: str) -> int:
        """Returns the index of the best entry; -1 without any hit."""
        words = [word for word in normalise(question) if word not in _ASKING]
        known = [word for word in words if word in self._index.vocab_dict]
        return int(self._index.get_scores(known).argmax()) if known else -1
