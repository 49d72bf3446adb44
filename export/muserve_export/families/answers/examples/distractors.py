"""Finds distractors: entries that could be mistaken for the one that is asked about."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import cached_property

import numpy as np

from muserve_export.families.answers.corpus.corpus import Corpus, Pair
from muserve_export.families.answers.corpus.triples import Triple
from muserve_server.tasks.answer.library import index_entries
from muserve_server.tasks.answer.search import Index

__all__ = ["Distractors"]

_MAX_HITS = 8


class Distractors:
    """Finds distractors among the entries of one part."""

    def __init__(self, corpus: Corpus, entries: Sequence[int]) -> None:
        """Stores its parts.

        Args:
            corpus: With the entries.
            entries: Indices of the part's entries.
        """
        self._corpus = corpus
        self._entries = entries

    def similar(self, text: str, target: Triple | Pair) -> Sequence[int]:
        """Returns other entries of the part that a search for a text finds, unless they may answer the question."""
        similar = []
        for each in self._index.find(text, _MAX_HITS).documents:
            other = self._corpus.entries[self._entries[each]]
            text_read = other.context.casefold()
            # Who made a thing is told by others, too.
            is_told = isinstance(target, Triple) and target.kind != "what" and target.subject.casefold() in text_read
            is_answer = bool(target.answer) and target.answer.casefold() in text_read
            if self._entries[each] != target.entry and not is_told and not is_answer:
                similar.append(self._entries[each])
        return similar

    @cached_property
    def _index(self) -> Index:
        return index_entries([self._corpus.entries[index] for index in self._entries])

    def near(self, index: int, random: np.random.Generator) -> Sequence[int]:
        """Returns entries that share a word of the name or, half of the time, the field of an entry."""
        entry = self._corpus.entries[index]
        named = self._by_feature[entry.title.split(" ")[-1].casefold()]
        return named if len(named) > 1 and random.random() < 0.5 else self._by_feature[entry.domains[:1]]

    @cached_property
    def _by_feature(self) -> Mapping[object, list[int]]:
        similar: dict[object, list[int]] = defaultdict(list)
        for index in self._entries:
            entry = self._corpus.entries[index]
            if entry.domains:
                similar[entry.domains[:1]].append(index)
            for word in {word.casefold() for name in entry.names for word in name.split(" ")[-1:]}:
                similar[word].append(index)
        return similar
