"""Retrieval for questions: BM25 over words, and a bonus for whole names in the question, with spelling correction.

BM25 is that of the library bm25s (Lù, 2024), once over names and once over texts. An unknown word is replaced by the
nearest known one, by edit distance.
"""

from __future__ import annotations

import math
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import bm25s
import numpy as np
from numpy.typing import NDArray
from rapidfuzz import process
from rapidfuzz.distance import OSA

__all__ = ["Document", "Found", "Index", "split_words"]

_WORD = re.compile(r"[^\W_]+[+#]*")
_NAME_WEIGHT = 1.5
_EXACT = 12.0
"""Score of each word of a name that the question has in full, if no other document has that word."""
_SPELLED_AS_NAME = 1.5
"""Factor of that score for a word spelled like a name: gRPC, PDC, MC68010."""
_MAX_NAME_WORDS = 8
_MIN_COMMON_WORDS = 3
"""Minimum words of a name of stop words alone: "do what I mean"."""
_MIN_FUZZY = 4
_COMMON_WEIGHT = 100
_MIN_SIMILARITY = 0.75
# Stop words.
_COMMON = frozenset(
    (
        "a", "about", "an", "and", "any", "are", "as", "at", "be", "been", "being", "by", "can", "could", "define",
        "definition", "describe", "did", "do", "does", "doing", "done", "explain", "exactly", "for", "from", "give",
        "had", "has", "have", "how", "i", "if", "in", "into", "is", "it", "its", "know", "many", "mean", "meaning",
        "means", "meant", "me", "much", "my", "of", "on", "one", "or", "our", "please", "s", "say", "should", "so",
        "some", "somebody", "someone", "stand", "stands", "t", "tell", "than", "that", "the", "their", "them", "then",
        "there", "these", "they", "thing", "this", "those", "to", "us", "use", "used", "was", "we", "were", "what",
        "whats", "when", "where", "which", "who", "whom", "whose", "why", "will", "with", "would", "you", "your",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Document:
    """A document to search."""

    names: tuple[str, ...]
    """Its names; may be empty."""
    text: str
    """Its text."""


@dataclass(frozen=True)
class Found:
    """The documents that match a question."""

    question: str
    """The question with corrected spelling."""
    documents: tuple[int, ...]
    """Indices, best first."""
    points: tuple[float, ...]
    """Scores relative to the best one."""

    def at_least(self, share: float) -> Found:
        """Drops documents with a lower relative score.

        Args:
            share: 0 keeps all, 1 only those that are as good as the best.
        """
        count = sum(points >= share for points in self.points)
        return Found(self.question, self.documents[:count], self.points[:count])


class Index:
    """An index over documents."""

    def __init__(self, documents: Sequence[Document]) -> None:
        """Indexes documents.

        Args:
            documents: At least one.
        """
        names = [[word for name in document.names for word in _stems(name)] for document in documents]
        texts = [list(_stems(document.text)) for document in documents]
        self._names, self._texts = _Bm25(names), _Bm25(texts)
        self._exact: dict[str, list[int]] = defaultdict(list)
        self._spelled: Counter[str] = Counter()
        for number, document in enumerate(documents):
            for name in {"".join(split_words(name)) for name in document.names}:
                if name:
                    self._exact[name].append(number)
            for word in split_words(" ".join(document.names)):
                self._spelled[word] += _MAX_NAME_WORDS  # a name is likelier asked about than a word of a text
            self._spelled.update(split_words(document.text))
        self._spelled.update(dict.fromkeys(sorted(_COMMON), _COMMON_WEIGHT))
        holding = Counter(word for own in zip(names, texts, strict=True) for word in {*own[0], *own[1]})
        rarest = math.log((1 + len(documents)) / 1.5)
        self._rarity = {
            word: max(0.0, math.log((1 + len(documents)) / (0.5 + count)) / rarest) for word, count in holding.items()
        }
        self._known = [word for word in self._spelled if len(word) >= _MIN_FUZZY]
        self._stemmed = {_stem(word) for word in self._spelled}

    def find(self, question: str, maximum: int) -> Found:
        """Returns the documents that match a question best.

        Args:
            question: As typed.
            maximum: Maximum documents to return.
        """
        question = self._respell(question)
        words = split_words(question)
        terms = [_stem(word) for word in words if word not in _COMMON]
        points = _NAME_WEIGHT * self._names.points(terms) + self._texts.points(terms)
        for weight, named in self._whole_names(question, words):
            # Documents of one name get one score: the reader tells them apart.
            points[named] = points[named].max() + _EXACT * weight
        best = np.argsort(-points, kind="stable")[:maximum]
        matches = [int(number) for number in best if points[number] > 0]
        shares = [float(points[number] / points[matches[0]]) for number in matches]
        return Found(question, tuple(matches), tuple(shares))

    def _whole_names(self, question: str, words: Sequence[str]) -> Iterator[tuple[float, list[int]]]:
        """Yields the weight of each name in the question and the documents of that name.

        Each document occurs once, with its name of the highest weight.
        """
        best: dict[int, tuple[float, str]] = {}
        tried: set[str] = set()
        typed = _WORD.findall(question)
        capitals = {word.lower() for word in typed if word.isupper() and len(word) > 1}
        if len(typed) > 1 and question.isupper():
            capitals = set()  # in a question typed in capitals they mean nothing
        as_names = {word.lower() for word in typed if word[1:] != word[1:].lower() or any(map(str.isdigit, word))}
        for start in range(len(words)):
            for end in range(start + 1, min(start + _MAX_NAME_WORDS, len(words)) + 1):
                piece = words[start:end]
                # Stop words such as "is" and "it" are names too, but only count as such in capitals: IT.
                content = [word for word in piece if word not in _COMMON or word in capitals]
                if not content and len(piece) < _MIN_COMMON_WORDS:
                    continue
                weight = sum(
                    self._rarity.get(_stem(word), 1.0) * (_SPELLED_AS_NAME if word in as_names else 1.0)
                    for word in content
                )
                names = {"".join(piece), "".join([*piece[:-1], _stem(piece[-1])])} - tried
                tried |= names
                for joined in names:
                    for number in self._exact.get(joined, ()):
                        best[number] = max(best.get(number, (0.0, "")), (weight if content else 1.0, joined))
        named: dict[tuple[float, str], list[int]] = defaultdict(list)
        for number, name in best.items():
            named[name].append(number)
        for (weight, _), documents in named.items():
            yield weight, documents

    def _respell(self, question: str) -> str:
        """Replaces words that are in no document by the nearest known ones."""

        def nearest(match: re.Match[str]) -> str:
            word = match[0].lower()
            if word in self._spelled or _stem(word) in self._stemmed or len(word) < _MIN_FUZZY:
                return match[0]
            if any(character.isdigit() for character in word):
                return match[0]
            likely = process.extract(
                word, self._known, scorer=OSA.normalized_similarity, score_cutoff=_MIN_SIMILARITY, limit=None
            )
            if not likely:
                return match[0]
            return str(max(likely, key=lambda each: (round(each[1], 6), self._spelled[each[0]], each[0]))[0])

        return _WORD.sub(nearest, question)


class _Bm25:
    """BM25 over words; all scores are 0 if no document has a word."""

    def __init__(self, words: Sequence[list[str]]) -> None:
        self._count = len(words)
        self._vocabulary = {word: number for number, word in enumerate(sorted({each for own in words for each in own}))}
        self._index = None
        if self._vocabulary:
            ids = [[self._vocabulary[word] for word in own] for own in words]
            self._index = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend="numpy", csc_backend="numpy")
            self._index.index(bm25s.tokenization.Tokenized(ids=ids, vocab=dict(self._vocabulary)), show_progress=False)

    def points(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Returns the score of every document: float32 [document]."""
        known = [word for word in words if word in self._vocabulary]
        if self._index is None or not known:
            return np.zeros(self._count, np.float32)
        return np.array(self._index.get_scores(known), np.float32)


def split_words(text: str) -> list[str]:
    """Returns a text's words in lower case: "C++ and I/O" has c++, and, i, o."""
    return [word.lower() for word in _WORD.findall(text)]


def _stems(text: str) -> Iterator[str]:
    return map(_stem, split_words(text))


def _stem(word: str) -> str:
    """Removes the plural s."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
