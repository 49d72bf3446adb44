"""Samples examples: a question, one to four passages, and the answer with its evidence, or no answer.

Of the questions without an answer half are about entries that are not among the passages, and half name one that is
there and ask what it does not say.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from muserve_export.errors import DataError
from muserve_export.families.answers.corpus.corpus import Corpus, Pair
from muserve_export.families.answers.corpus.parts import part_of_entry
from muserve_export.families.answers.corpus.triples import Triple
from muserve_export.families.answers.examples.distractors import Distractors
from muserve_export.families.answers.examples.phrasing import QuestionPhraser
from muserve_export.families.answers.examples.silence import find_silent_kinds
from muserve_export.families.answers.examples.wordings import PLAIN, answer_sentence, ask
from muserve_server.tasks.answer.entries import Entry
from muserve_server.tasks.answer.passages import Passage, cut_entry

__all__ = [
    "MAX_PASSAGES",
    "MAX_PASSAGE_CHARACTERS",
    "Evidence",
    "Example",
    "ExampleMaker",
    "make_examples",
]

MAX_PASSAGES = 4
MAX_PASSAGE_CHARACTERS = 600
"""Of a passage; longer entries are cut at a word."""

_UNANSWERABLE = 0.2
_FOUND, _NEAR = 0.4, 0.3
"""Shares of the passages beside the right one that a search for the question finds too, and that are near the right
one: of its field, or with a word of its name."""
_ALIAS = 0.3
_AS_PROSE = 0.25
"""Share of the passages that say "A tool is a program which …" for "tool: A program which …", as other texts do."""
_RARE_KINDS = {"what": 1.0, "stands for": 1.5, "who": 4.0, "when": 6.0, "where": 10.0}
"""How often a triple is drawn: of some kinds there are few."""

_ACTED = ("who", "when", "where")
_TELLING_CHARACTERS = 60
"""Texts that are this long are not alike by chance: "Yes." is."""


@dataclass(frozen=True)
class Evidence:
    """Span of an answer."""

    passage: int
    """Index of the passage."""
    start: int
    """Offset of its first character."""
    end: int
    """Offset after its last character."""


@dataclass(frozen=True)
class Example:
    """One training or evaluation example."""

    question: str
    """As a person would type it."""
    passages: tuple[str, ...]
    """The passages."""
    answer: str
    """The answer, as a sentence; "" if the passages do not have it."""
    evidence: Evidence | None
    """None without an answer, or if it does not occur verbatim."""
    kind: str
    """One of `triples.KINDS`; "" for the user's own questions."""
    subject: int
    """Index of the entry that the question is about."""
    position: int
    """Index of that entry's passage; -1 if it is not among them."""
    plain: str = ""
    """Target of question generation; "" if it is `question` itself."""


@dataclass(frozen=True)
class _Prose:
    """An entry rewritten in full sentences."""

    text: str
    """The text."""
    start: int
    """Offset of the definition in it."""
    definition_start: int
    """Offset of the definition in the entry's own text."""


def make_examples(corpus: Corpus, part: str) -> ExampleMaker:
    """Prepares the examples of a part.

    Raises:
        DataError: The part has no entries, or none about which anything can be asked.
    """
    maker = ExampleMaker(corpus, part)
    if not maker.triples and not maker.pairs:
        raise DataError(
            f"{corpus.path}: nothing can be asked about the entries of the part {part!r}: none is defined by its first "
            "sentence, as in 'A tool that …'; write such entries, or give questions with answers"
        )
    return maker


class ExampleMaker:
    """Draws examples from the entries of one part."""

    def __init__(self, corpus: Corpus, part: str) -> None:
        """Stores its parts.

        Args:
            corpus: Entries, triples and pairs.
            part: train, validation or test, of entries by `part_of`.

        Raises:
            DataError: The part has no entries.
        """
        self._corpus = corpus
        self.entries: Sequence[int] = _entries_of(corpus, part)
        """Indices of the part's entries."""
        self._distractors = Distractors(corpus, self.entries)
        self._phraser = QuestionPhraser(corpus, self.entries, self._distractors, is_varied=part == "train")
        own = set(self.entries)
        self.triples: Sequence[Triple] = [
            triple for triple in corpus.triples if triple.entry in own and self._place(triple) is not None
        ]
        """What can be asked about them and is in what is kept of their text."""
        self.pairs: Sequence[Pair] = [pair for pair in corpus.pairs if pair.entry in own]
        """Questions in words of their own about them."""

    def draw(self, random: np.random.Generator) -> Example:
        """Samples an example.

        Args:
            random: Decides all: which question, in which words, beside which passages.
        """
        if self.pairs:
            pair = self.pairs[int(random.integers(len(self.pairs)))]
            return self.of_pair(pair, random, is_there=random.random() >= _UNANSWERABLE)
        if random.random() < _UNANSWERABLE / 2 and self._silent:
            kind = list(self._silent)[int(random.integers(len(self._silent)))]
            silent = self._silent[kind]
            return self._without_answer(silent[int(random.integers(len(silent)))], kind, random)
        triple = self.triples[int(np.searchsorted(self._shares, random.random(), side="right"))]
        wording = str(random.choice(self._phraser.wordings(triple.kind)))
        return self.of_triple(triple, wording, random, is_there=random.random() >= _UNANSWERABLE / 2)

    def of_triple(self, triple: Triple, wording: str, random: np.random.Generator, *, is_there: bool = True) -> Example:
        """Makes an example of a fact.

        Args:
            triple: One of `triples`.
            wording: The words, as in WORDINGS.
            random: Decides passages and spelling.
            is_there: Whether the entry is among the passages.
        """
        target = self._renamed(triple, random)
        question = self._phraser.ask(target, wording, random)
        others = self._passages(triple, question, random)[0] if not is_there else ()
        if others:
            return Example(question, others, "", None, triple.kind, triple.entry, -1)
        passages, position = self._passages(triple, question, random, with_entry=True)
        place = self._place(triple)
        prose = self._prose(triple.entry) if place and random.random() < _AS_PROSE else None
        if prose and place:
            shift = prose.start - self._offset(triple.entry) - prose.definition_start
            if triple.kind == "what":
                place = (prose.start, prose.start + len(triple.answer))
            elif triple.start > prose.definition_start:
                place = (place[0] + shift, place[1] + shift)
            else:
                prose = None  # what is asked stands before the definition, or among the names
        if prose and place and place[1] <= len(prose.text):
            passages = (*passages[:position], prose.text, *passages[position + 1 :])
        elif prose:
            place = self._place(triple)
        evidence = Evidence(position, *place) if place else None
        plain = ask(triple, str(random.choice(PLAIN[triple.kind])), self._corpus.articles.get(triple.subject, ""))
        answer = answer_sentence(triple, self._corpus.articles.get(triple.subject, ""))
        return Example(question, passages, answer, evidence, triple.kind, triple.entry, position, plain)

    def of_pair(self, pair: Pair, random: np.random.Generator, *, is_there: bool = True) -> Example:
        """Makes an example of the user's own question; answered if its entry is among the passages.

        Of a long text the piece that answers is read, as the server cuts it.
        """
        others = self._passages(pair, pair.question, random)[0] if not is_there else ()
        if others:
            return Example(pair.question, others, "", None, "", pair.entry, -1)
        passages, position = self._passages(pair, pair.question, random, with_entry=True)
        piece, place = self._piece_of(pair)
        passages = (*passages[:position], piece.text, *passages[position + 1 :])
        evidence = Evidence(position, *place) if place else None
        return Example(pair.question, passages, pair.answer, evidence, "", pair.entry, position)

    def _piece_of(self, pair: Pair) -> tuple[Passage, tuple[int, int] | None]:
        """Returns the piece of a pair's text that has its answer, and the span; else that with most of its words."""
        pieces = cut_entry(self._corpus.entries[pair.entry], pair.entry, MAX_PASSAGE_CHARACTERS)
        for piece in pieces if pair.start >= 0 else ():
            start = pair.start - piece.start + len(piece.heading)
            end = start + len(pair.answer)
            if start >= len(piece.heading) and end <= len(piece.text):
                return piece, (start, end)
        words = set(pair.answer.casefold().split())
        return max(pieces, key=lambda piece: len(words & set(piece.text.casefold().split()))), None

    def _without_answer(self, index: int, kind: str, random: np.random.Generator) -> Example:
        """Makes an example that asks what an entry does not say."""
        entry = self._corpus.entries[index]
        verbs = self._verbs.get(kind, ("developed",))
        verb = verbs[int(random.integers(len(verbs)))]
        acronyms = [name for name in entry.names if name.isupper()]
        subject = acronyms[0] if kind == "stands for" and acronyms else entry.title
        target = Triple(index, kind, subject, -1, "", verb)
        question = self._phraser.ask(target, str(random.choice(self._phraser.wordings(kind))), random)
        passages, position = self._passages(target, question, random, with_entry=True)
        passages = (*passages[:position], self._shown(index, random), *passages[position + 1 :])
        return Example(question, passages, "", None, kind, index, position)

    def _passages(
        self, target: Triple | Pair, question: str, random: np.random.Generator, *, with_entry: bool = False
    ) -> tuple[tuple[str, ...], int]:
        """Samples passages in random order, with or without the entry's own; returns its position among them too.

        Those beside it are what a search for the question finds as well, what is near the entry, and any others.
        """
        index = target.entry
        count = int(random.integers(1, MAX_PASSAGES + 1))
        names = {name.casefold() for name in self._corpus.entries[index].names if name}
        similar = self._distractors.similar(question, target) if count > with_entry else ()
        others: list[int] = []
        for _ in range(8 * count):
            if len(others) >= count - with_entry:
                break
            way = random.random()
            pool = (
                (way < _FOUND and similar)
                or (way < _FOUND + _NEAR and self._distractors.near(index, random))
                or self.entries
            )
            other = int(pool[int(random.integers(len(pool)))])
            is_same = names & {name.casefold() for name in self._corpus.entries[other].names}
            if other != index and other not in others and not is_same:
                others.append(other)
        chosen = [*others, index] if with_entry else others
        order = random.permutation(len(chosen)).tolist()
        own = len(chosen) - 1 if with_entry else -1
        # Others are in sentences alone as often as the right one, or these alone would say that there is an answer.
        passages = tuple(
            self.passage(chosen[each]) if each == own else self._shown(chosen[each], random) for each in order
        )
        return passages, order.index(own) if with_entry else -1

    def _shown(self, index: int, random: np.random.Generator) -> str:
        """Returns the passage of an entry that does not answer the question."""
        prose = self._prose(index) if random.random() < _AS_PROSE else None
        return prose.text if prose else self.passage(index)

    def passage(self, index: int) -> str:
        """Returns the passage of an entry: names and text, up to MOST_CHARACTERS."""
        whole = self._corpus.entries[index].context
        if len(whole) <= MAX_PASSAGE_CHARACTERS:
            return whole
        end = whole.rfind(" ", 0, MAX_PASSAGE_CHARACTERS + 1)
        return whole[: end if end > 0 else MAX_PASSAGE_CHARACTERS]

    def _prose(self, index: int) -> _Prose | None:
        """Returns an entry with its defining phrase as a full sentence; None if it has no such phrase."""
        definition = self._definitions.get(index)
        entry = self._corpus.entries[index]
        if definition is None or definition.answer.startswith(entry.title):
            return None
        sentence = answer_sentence(definition, self._corpus.articles.get(entry.title, ""))
        if not sentence.endswith(definition.answer[1:]):
            return None
        text = sentence + entry.text[definition.start + len(definition.answer) :]
        end = text.rfind(" ", 0, MAX_PASSAGE_CHARACTERS + 1) if len(text) > MAX_PASSAGE_CHARACTERS else len(text)
        return _Prose(text[:end], len(sentence) - len(definition.answer), definition.start)

    @cached_property
    def _definitions(self) -> Mapping[int, Triple]:
        return {triple.entry: triple for triple in self.triples if triple.kind == "what"}

    def _offset(self, index: int) -> int:
        entry = self._corpus.entries[index]
        return len(entry.context) - len(entry.text)

    def _place(self, triple: Triple) -> tuple[int, int] | None:
        """Returns the answer's span in the entry's passage; None if it was cut off."""
        passage = self.passage(triple.entry)
        is_name = triple.start < 0
        start = passage.find(triple.answer) if is_name else self._offset(triple.entry) + triple.start
        end = start + len(triple.answer)
        return (start, end) if start >= 0 and end <= len(passage) else None

    def _renamed(self, triple: Triple, random: np.random.Generator) -> Triple:
        """Sometimes replaces the subject by an alias of the entry."""
        names = [name for name in self._corpus.entries[triple.entry].names[1:] if name.strip()]
        if triple.kind == "stands for" or not names or random.random() >= _ALIAS:
            return triple
        return replace(triple, subject=str(random.choice(names)))

    @cached_property
    def _shares(self) -> NDArray[np.float64]:
        """Where each triple's share of all draws ends, rising to 1."""
        ends: NDArray[np.float64] = np.cumsum([_RARE_KINDS[triple.kind] for triple in self.triples])
        ends /= ends[-1]
        return ends

    @cached_property
    def _verbs(self) -> Mapping[str, Sequence[str]]:
        """What was done, by kind, as often as it was."""
        return {kind: [each.verb for each in self.triples if each.kind == kind] or ["developed"] for kind in _ACTED}

    @cached_property
    def _silent(self) -> Mapping[str, Sequence[int]]:
        """Kinds of question, each with the entries that surely do not answer it."""
        similar: dict[str, list[int]] = {}
        for index in self.entries:
            for kind in find_silent_kinds(self._corpus.entries[index]):
                similar.setdefault(kind, []).append(index)
        return similar


def _entries_of(corpus: Corpus, part: str) -> list[int]:
    """Lists the entries of a part; of train without those that share a name or a text with one that is held out."""
    parts = [part_of_entry(entry, is_paired=bool(corpus.pairs)) for entry in corpus.entries]
    held: set[str] = set()
    if part == "train":
        for entry, own in zip(corpus.entries, parts, strict=True):
            if own != part:
                held |= _features(entry)
    similar = [
        index
        for index, (entry, own) in enumerate(zip(corpus.entries, parts, strict=True))
        if own == part and not held & _features(entry)
    ]
    if not similar:
        raise DataError(
            f"{corpus.path}: of {len(corpus.entries)} entries none falls to the part {part!r}; give some dozens, so "
            "that each part gets some"
        )
    return similar


def _features(entry: Entry) -> set[str]:
    """What two entries that are one and the same have in common."""
    texts = [entry.text] if len(entry.text) >= _TELLING_CHARACTERS else []
    return {each.casefold() for each in (*entry.names, *texts) if each}
