"""The corpora of a bundle, and what a question is answered from: passages of theirs, or of a text of the caller's."""

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
    """What is read for a question."""

    question: str
    """As it is read."""
    passages: tuple[Passage, ...]
    """The likeliest first."""
    points: tuple[float, ...]
    """What the search gave each, as a share of the best one's."""
    nearest: tuple[str, ...]
    """Titles of the entries nearest to the question, the nearest first."""


class Library:
    """The entries of a bundle's corpora, ready to be searched."""

    def __init__(self, bundle: Bundle, fit: Callable[[Sequence[Passage]], Sequence[Passage]]) -> None:
        """Reads and indexes the corpora: some seconds for ten thousand entries.

        Args:
            bundle: With the corpora.
            fit: Cuts passages that have more tokens than are read at once.

        Raises:
            BundleFileError: One cannot be read.
        """
        settings = bundle.manifest.answer
        self._settings = settings
        self._fit = fit
        self.entries: Sequence[Entry] = []
        """Of all corpora, one behind the other."""
        self._corpora: list[int] = []
        for number, corpus in enumerate(settings.corpora):
            try:
                own = list(read_entries(bundle.folder / corpus.file))
            except (OSError, ValueError) as error:
                raise BundleFileError(f"{bundle}: {corpus.file}: {error}") from error
            self.entries += own
            self._corpora += [number] * len(own)
        self._index = index_entries(self.entries) if self.entries else None

    def corpus_of(self, entry: int) -> manifest_pb2.AnswerCorpus:
        """The corpus that an entry belongs to."""
        return self._settings.corpora[self._corpora[entry]]

    def find(self, question: str) -> ToRead:
        """Finds what to read for a question."""
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
    """Makes entries ready to be searched."""
    return Index([Document(tuple(name for name in entry.names if name), entry.text) for entry in entries])


def passages_of(
    found: Found, cut: Callable[[int], Sequence[Passage]], maximum: int
) -> tuple[list[Passage], list[float]]:
    """Cuts what was found into passages.

    Args:
        found: Entries, the best first.
        cut: Gives an entry's passages by its index.
        maximum: Maximum passages to return.

    Returns:
        The passages, the best entry's first; and what the search gave the entry of each.
    """
    passages: list[Passage] = []
    points: list[float] = []
    for number, share in zip(found.documents, found.points, strict=True):
        own = cut(number)
        passages += own
        points += [share] * len(own)
    return passages[:maximum], points[:maximum]


def choose(question: str, passages: Sequence[Passage], maximum: int) -> ToRead:
    """Finds what of a caller's text to read for a question.

    Args:
        question: To be answered.
        passages: All of the text.
        maximum: Passages that are read.
    """
    if len(passages) <= maximum:
        return ToRead(question, tuple(passages), (1.0,) * len(passages), ())
    names = [(passage.heading.rstrip(": "),) if passage.heading else () for passage in passages]
    index = Index([Document(name, passage.text) for name, passage in zip(names, passages, strict=True)])
    found = index.find(question, maximum)
    # What shares no word with the question may answer it still; it comes last.
    others = [number for number in range(len(passages)) if number not in found.documents]
    chosen = [*found.documents, *others][:maximum]
    points = [*found.points, *[0.0] * len(others)][:maximum]
    return ToRead(question, tuple(passages[number] for number in chosen), tuple(points), ())
