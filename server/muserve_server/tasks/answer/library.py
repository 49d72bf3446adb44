"""Retrieves the passages for a question, from the corpora of a bundle or from a text of the caller."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from muserve.bundle import Bundle, BundleFileError
from muserve.v1 import manifest_pb2
from muserve_server.tasks.answer.entries import Entry, read_entries
from muserve_server.tasks.answer.passages import Passage, cut_entry
from muserve_server.tasks.answer.search import Document, Found, Index

__all__ = ["Library", "ToRead", "choose", "index_entries", "passages_of"]

_NEAREST = 5


@dataclass(frozen=True)
class ToRead:
    """The passages that are read for a question."""

    question: str
    """The question with corrected spelling."""
    passages: tuple[Passage, ...]
    """Best first."""
    points: tuple[float, ...]
    """Retrieval scores relative to the best one."""
    nearest: tuple[str, ...]
    """Titles of the entries that match the question best, best first."""


class Library:
    """The indexed entries of a bundle's corpora."""

    def __init__(self, bundle: Bundle, fit: Callable[[Sequence[Passage]], Sequence[Passage]]) -> None:
        """Reads and indexes the corpora: some seconds for ten thousand entries.

        Args:
            bundle: The bundle of the corpora.
            fit: Splits passages that have too many tokens.

        Raises:
            BundleFileError: A corpus cannot be read.
        """
        settings = bundle.manifest.answer
        self._settings = settings
        self._fit = fit
        self.entries: Sequence[Entry] = []
        """The entries of all corpora in their order."""
        self._corpora: list[int] = []
        for number, corpus in enumerate(settings.corpora):
            try:
                entries = list(read_entries(bundle.folder / corpus.file))
            except (OSError, ValueError) as error:
                raise BundleFileError(f"{bundle}: {corpus.file}: {error}") from error
            self.entries += entries
            self._corpora += [number] * len(entries)
        self._index = index_entries(self.entries) if self.entries else None

    def corpus_of(self, entry: int) -> manifest_pb2.AnswerCorpus:
        """Returns the corpus of an entry."""
        return self._settings.corpora[self._corpora[entry]]

    def find(self, question: str) -> ToRead:
        """Retrieves the passages for a question."""
        if self._index is None:
            return ToRead(question, (), (), ())
        found = self._index.find(question, max(_NEAREST, self._settings.passages_read))
        passages, points = passages_of(
            found.at_least(self._settings.least_share), self._cut, self._settings.passages_read
        )
        titles = dict.fromkeys(self.entries[number].title for number in found.documents)
        nearest = tuple(title for title in titles if title)[:_NEAREST]
        return ToRead(found.question, tuple(passages), tuple(points), nearest)

    def _cut(self, number: int) -> Sequence[Passage]:
        return self._fit(cut_entry(self.entries[number], number, self._settings.passage_characters))


def index_entries(entries: Sequence[Entry]) -> Index:
    """Indexes entries."""
    return Index([Document(tuple(name for name in entry.names if name), entry.text) for entry in entries])


def passages_of(
    found: Found, cut: Callable[[int], Sequence[Passage]], maximum: int
) -> tuple[list[Passage], list[float]]:
    """Cuts the retrieved entries into passages.

    Args:
        found: Entries, best first.
        cut: Returns the passages of an entry by its index.
        maximum: Maximum passages to return.

    Returns:
        The passages, those of the best entry first; and the score of the entry of each.
    """
    passages: list[Passage] = []
    points: list[float] = []
    for number, share in zip(found.documents, found.points, strict=True):
        pieces = cut(number)
        passages += pieces
        points += [share] * len(pieces)
    return passages[:maximum], points[:maximum]


def choose(question: str, passages: Sequence[Passage], maximum: int) -> ToRead:
    """Retrieves the passages of a caller's text for a question.

    Args:
        question: The question.
        passages: All passages of the text.
        maximum: Maximum passages to read.
    """
    if len(passages) <= maximum:
        return ToRead(question, tuple(passages), (1.0,) * len(passages), ())
    names = [(passage.heading.rstrip(": "),) if passage.heading else () for passage in passages]
    index = Index([Document(name, passage.text) for name, passage in zip(names, passages, strict=True)])
    found = index.find(question, maximum)
    # A passage that shares no word with the question may still answer it; it comes last.
    others = [number for number in range(len(passages)) if number not in found.documents]
    chosen = [*found.documents, *others][:maximum]
    points = [*found.points, *[0.0] * len(others)][:maximum]
    return ToRead(question, tuple(passages[number] for number in chosen), tuple(points), ())
