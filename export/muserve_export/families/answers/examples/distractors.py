"""Finds entries that could be taken for the one that is asked about."""

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

_MOST_FOUND = 8


class Distractors:
    """Finds among the entries of one part."""

    def __init__(self, corpus: Corpus, entries: Sequence[int]) -> None:
        """Holds what can be found.

        Args:
            corpus: With the entries.
            entries: Indices of the part's.
        """
        self._corpus = corpus
        self._entries = entries

    def found(self, text: str, asked: Triple | Pair) -> Sequence[int]:
        """Lists other entries of the part that a search for a text finds, but those that may answer what is asked."""
        found = []
        for each in self._index.find(text, _MOST_FOUND).documents:
            other = self._corpus.entries[self._entries[each]]
            read = other.context.casefold()
            # Who made a thing is told by others, too.
            is_told = isinstance(asked, Triple) and asked.kind != "what" and asked.subject.casefold() in read
            is_answer = bool(asked.answer) and asked.answer.casefold() in read
            if self._entries[each] != asked.entry and not is_told and not is_answer:
                found.append(self._entries[each])
        return found

    @cached_property
    def _index(self) -> Index:
        return index_entries([self._corpus.entries[index] for index in self._entries])

    def near(self, index: int, random: np.random.Generator) -> Sequence[int]:
        """Lists entries with a word of an entry's name, or of its field: the first are few, so they come as often."""
        entry = self._corpus.entries[index]
        named = self._by_feature[entry.title.split(" ")[-1].casefold()]
        return named if len(named) > 1 and random.random() < 0.5 else self._by_feature[entry.domains[:1]]

    @cached_property
    def _by_feature(self) -> Mapping[object, list[int]]:
        found: dict[object, list[int]] = defaultdict(list)
        for index in self._entries:
            entry = self._corpus.entries[index]
            if entry.domains:
                found[entry.domains[:1]].append(index)
            for word in {word.casefold() for name in entry.names for word in name.split(" ")[-1:]}:
                found[word].append(index)
        return found
