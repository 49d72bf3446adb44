"""Finds what to read for a question: by its words (BM25), by whole names in it, the rarer the better, in any spelling.

BM25 is that of the library bm25s (Lù, 2024), once over names and once over texts. A word that stands nowhere is taken
for the nearest that does, by edit distance.
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
"""Points for each word of a name that stands whole in the question, if no other document has that word."""
_SPELLED_AS_NAME = 1.5
"""As many times these points for a word that is spelled as few but names are: gRPC, PDC, MC68010."""
_MAX_NAME_WORDS = 8
_FEWEST_COMMON_WORDS = 3
"""Of a name that has no others: "do what I mean"."""
_MIN_FUZZY = 4
_COMMON_WEIGHT = 100
_MIN_SIMILARITY = 0.75
# What is asked with, not about.
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
    """One thing to find."""

    names: tuple[str, ...]
    """What it is called; may be none."""
    text: str
    """What it says."""


@dataclass(frozen=True)
class Found:
    """What was found for a question."""

    question: str
    """With words spelled as documents spell them."""
    documents: tuple[int, ...]
    """Indices, the best first."""
    points: tuple[float, ...]
    """Of each, as a share of the best one's."""

    def at_least(self, share: float) -> Found:
        """Leaves documents with a lower share out.

        Args:
            share: 0 for all, 1 for those alone that are as good as the best.
        """
        count = sum(points >= share for points in self.points)
        return Found(self.question, self.documents[:count], self.points[:count])


class Index:
    """Documents, ready to be searched."""

    def __init__(self, documents: Sequence[Document]) -> None:
        """Reads all documents.

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
        """Finds the documents that a question is likeliest about.

        Args:
            question: As it was typed.
            maximum: Maximum documents to return.
        """
        question = self._respell(question)
        words = split_words(question)
        requested = [_stem(word) for word in words if word not in _COMMON]
        points = _NAME_WEIGHT * self._names.points(requested) + self._texts.points(requested)
        for telling, own in self._whole_names(question, words):
            # Documents of one name are told apart by reading them, not by how much else they say.
            points[own] = points[own].max() + _EXACT * telling
        best = np.argsort(-points, kind="stable")[:maximum]
        found = [int(number) for number in best if points[number] > 0]
        shares = [float(points[number] / points[found[0]]) for number in found]
        return Found(question, tuple(found), tuple(shares))

    def _whole_names(self, question: str, words: Sequence[str]) -> Iterator[tuple[float, list[int]]]:
        """Yields how telling the words of each name are that stands in the question, and the documents of that name.

        Each document once, with its most telling name.
        """
        maximum: dict[int, tuple[float, str]] = {}
        tried: set[str] = set()
        typed = _WORD.findall(question)
        capitals = {word.lower() for word in typed if word.isupper() and len(word) > 1}
        if len(typed) > 1 and question.isupper():
            capitals = set()  # who types all in capitals says nothing by them
        as_names = {word.lower() for word in typed if word[1:] != word[1:].lower() or any(map(str.isdigit, word))}
        for start in range(len(words)):
            for end in range(start + 1, min(start + _MAX_NAME_WORDS, len(words)) + 1):
                piece = words[start:end]
                # "is" and "it" are names too, but what is asked about is IT; and rather "awk" than "go".
                own = [word for word in piece if word not in _COMMON or word in capitals]
                if not own and len(piece) < _FEWEST_COMMON_WORDS:
                    continue
                telling = sum(
                    self._rarity.get(_stem(word), 1.0) * (_SPELLED_AS_NAME if word in as_names else 1.0) for word in own
                )
                names = {"".join(piece), "".join([*piece[:-1], _stem(piece[-1])])} - tried
                tried |= names
                for joined in names:
                    for number in self._exact.get(joined, ()):
                        maximum[number] = max(maximum.get(number, (0.0, "")), (telling if own else 1.0, joined))
        named: dict[tuple[float, str], list[int]] = defaultdict(list)
        for number, name in maximum.items():
            named[name].append(number)
        for (telling, _), documents in named.items():
            yield telling, documents

    def _respell(self, question: str) -> str:
        """Puts known words in the place of those that stand in no document."""

        def nearest(found: re.Match[str]) -> str:
            word = found[0].lower()
            if word in self._spelled or _stem(word) in self._stemmed or len(word) < _MIN_FUZZY:
                return found[0]
            if any(character.isdigit() for character in word):
                return found[0]
            likely = process.extract(
                word, self._known, scorer=OSA.normalized_similarity, score_cutoff=_MIN_SIMILARITY, limit=None
            )
            if not likely:
                return found[0]
            return str(max(likely, key=lambda each: (round(each[1], 6), self._spelled[each[0]], each[0]))[0])

        return _WORD.sub(nearest, question)


class _Bm25:
    """BM25 over words; without documents that have any, all points are 0."""

    def __init__(self, words: Sequence[list[str]]) -> None:
        self._count = len(words)
        self._vocabulary = {word: number for number, word in enumerate(sorted({each for own in words for each in own}))}
        self._index = None
        if self._vocabulary:
            ids = [[self._vocabulary[word] for word in own] for own in words]
            self._index = bm25s.BM25(method="lucene", k1=1.2, b=0.75, backend="numpy", csc_backend="numpy")
            self._index.index(bm25s.tokenization.Tokenized(ids=ids, vocab=dict(self._vocabulary)), show_progress=False)

    def points(self, words: Sequence[str]) -> NDArray[np.float32]:
        """Returns the points of every document: float32 [document]."""
        known = [word for word in words if word in self._vocabulary]
        if self._index is None or not known:
            return np.zeros(self._count, np.float32)
        return np.array(self._index.get_scores(known), np.float32)


def split_words(text: str) -> list[str]:
    """Returns a text's words in small letters: "C++ and I/O" has c++, and, i, o."""
    return [word.lower() for word in _WORD.findall(text)]


def _stems(text: str) -> Iterator[str]:
    return map(_stem, split_words(text))


def _stem(word: str) -> str:
    """Takes the plural's s away."""
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith(("ss", "us", "is")) else word
