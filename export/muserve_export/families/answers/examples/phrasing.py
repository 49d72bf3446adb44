"""Phrases questions the way people type them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from muserve_export.families.answers.corpus.corpus import Corpus
from muserve_export.families.answers.corpus.triples import Triple
from muserve_export.families.answers.examples.distractors import Distractors
from muserve_export.families.answers.examples.wordings import BEFORE, FRAMES, WORDINGS, ask, plain_wordings

__all__ = ["QuestionPhraser"]

_MAX_PRECEDING_WORDS = 12
"""Maximum number of words of another text before a question."""
_MAX_FRAMED_WORDS = 22
"""Maximum length of a question that is put into a frame, in words."""
_LOWER, _LOWER_SUBJECT, _BARE = 0.15, 0.25, 0.3
_FRAMED, _PRECEDED, _SHORTENED = 0.2, 0.15, 0.1
_GARBLED, _DROPPED, _REPLACED = 0.4, 0.08, 0.08
"""Fraction of garbled questions, and the fractions of their words that are dropped or replaced; never the subject."""
_FIELD = 0.3
"""Fraction of the mentions in passing that are fields, not names."""
_BEGINNING = 200
"""Length of the text by which similar names are searched, in characters."""
_CUES = re.compile(
    r"who|whom|whose|when|where|what|which|year|date|decade|era\b|old|long|ago|since|place|lab|universit|institut|compan|"
    r"town|city|campus|school|site|stand|short|letter|acronym|abbrev|initial|expan|full|form|spell|words|wording|phrase|"
    r"by\b|creat|invent|author|maker|develop|person|people|team|defin|mean|explain|describ",
    re.IGNORECASE,
)
"""Words that tell the kind of a question."""
_PLAIN_WORD = re.compile(r"[A-Za-z]+")
_BRACES = re.compile(r"[{}]")
_LITTLE_WORDS = re.compile(r"(?<!\{)\b(?:an?|the|is|are|was|were|do|does|did|of|please)\b ?", re.IGNORECASE)


class QuestionPhraser:
    """Phrases questions about the entries of one part, with variations in training."""

    def __init__(self, corpus: Corpus, entries: Sequence[int], distractors: Distractors, *, is_varied: bool) -> None:
        """Stores its parts.

        Args:
            corpus: With the entries.
            entries: Indices of the part's entries.
            distractors: Of the part.
            is_varied: Whether to vary the phrasing, for training; else it is plain, for evaluation.
        """
        self._corpus = corpus
        self._entries = entries
        self._distractors = distractors
        self._is_varied = is_varied

    def ask(self, triple: Triple, wording: str, random: np.random.Generator) -> str:
        """Phrases a question, sometimes in lower case or without a question mark; in training with more variations.

        Args:
            triple: The fact that is asked about.
            wording: As in WORDINGS.
            random: Source of the variations.
        """
        subject = triple.subject
        question = self._vary(triple, wording, random) if self._is_varied else ask(triple, wording)
        lower, lower_subject, bare = random.random(3) < (_LOWER, _LOWER_SUBJECT, _BARE)
        if lower:
            question = question.lower()
        elif lower_subject:
            question = question.replace(subject, subject.lower())
        return question.rstrip("?.") if bare else question

    def wordings(self, kind: str) -> Sequence[str]:
        """Returns the wordings of a kind: all of them in training, else the plain ones."""
        return WORDINGS[kind] if self._is_varied else plain_wordings(kind)

    def _vary(self, triple: Triple, wording: str, random: np.random.Generator) -> str:
        """Phrases a question with added, missing or replaced words, or with another name in passing."""
        garbled, shortened, framed, preceded = random.random(4) < (_GARBLED, _SHORTENED, _FRAMED, _PRECEDED)
        around = "{q}"
        if framed:
            around = str(random.choice(FRAMES))
        elif preceded:
            around = f"{self._before(triple.entry, random)} {{q}}"
        other = self._mention(triple, random) if "{o}" in wording + around else ""
        if garbled:
            wording = self._garble(wording, random)
        if shortened:
            wording = _LITTLE_WORDS.sub("", wording)
        question = ask(triple, wording, other=other)
        # Of a long question its end is not read.
        return around.format(q=question, o=other) if len(question.split()) <= _MAX_FRAMED_WORDS else question

    def _before(self, entry: int, random: np.random.Generator) -> str:
        """Returns a text to put before a question: a remark, or the beginning of another entry."""
        other = self._entries[int(random.integers(len(self._entries)))]
        if other == entry or random.random() < 0.5:
            return str(random.choice(BEFORE))
        words = _BRACES.sub("", self._corpus.entries[other].text).split()[
            : int(random.integers(3, _MAX_PRECEDING_WORDS))
        ]
        return f"{' '.join(words).rstrip('.')}."

    def _garble(self, wording: str, random: np.random.Generator) -> str:
        """Drops or replaces words of a wording, except those that tell the kind of the question."""
        words = []
        for word in wording.split(" "):
            chance = random.random()
            if "{" in word or _CUES.search(word) or chance >= _REPLACED + _DROPPED:
                words.append(word)
            elif chance < _REPLACED:
                text = self._corpus.entries[self._entries[int(random.integers(len(self._entries)))]].text
                others = _PLAIN_WORD.findall(text) or [word]
                words.append(others[int(random.integers(len(others)))])
        return " ".join(words)

    def _mention(self, triple: Triple, random: np.random.Generator) -> str:
        """Returns a field or a similar name that a question mentions in passing."""
        entry = self._corpus.entries[triple.entry]
        titles = [
            self._corpus.entries[each].title for each in self._distractors.similar(entry.text[:_BEGINNING], triple)
        ]
        asked = [name.casefold() for name in (triple.subject, *entry.names) if name]
        names = [
            title for title in titles if not any(name in title.casefold() or title.casefold() in name for name in asked)
        ]
        if entry.domains and (not names or random.random() < _FIELD):
            names = list(entry.domains)
        if not names:
            other = self._corpus.entries[self._entries[int(random.integers(len(self._entries)))]].title
            names = ["this" if other.casefold() in asked else other]
        return _BRACES.sub("", names[int(random.integers(len(names)))])
