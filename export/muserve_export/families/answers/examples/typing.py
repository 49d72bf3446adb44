"""Says questions as people type them."""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from muserve_export.families.answers.corpus.corpus import Corpus
from muserve_export.families.answers.corpus.triples import Triple
from muserve_export.families.answers.examples.distractors import Distractors
from muserve_export.families.answers.examples.wordings import BEFORE, FRAMES, WORDINGS, ask, plainly

__all__ = ["Typist"]

_MOST_BEFORE = 12
"""Words of another text before a question."""
_MOST_FRAMED = 22
"""Words of a question around which others may stand."""
_LOWER, _LOWER_SUBJECT, _BARE = 0.15, 0.25, 0.3
_FRAMED, _PRECEDED, _SHORTENED = 0.2, 0.15, 0.1
_GARBLED, _DROPPED, _REPLACED = 0.4, 0.08, 0.08
"""Share of questions in which words are missing or others, and the shares of their words; never of the subject."""
_FIELD = 0.3
"""Share of the mentions in passing that are fields, not names."""
_BEGINNING = 200
"""Characters of a text by which names near it are searched for."""
_CUES = re.compile(
    r"who|whom|whose|when|where|what|which|year|date|decade|era\b|old|long|ago|since|place|lab|universit|institut|compan|"
    r"town|city|campus|school|site|stand|short|letter|acronym|abbrev|initial|expan|full|form|spell|words|wording|phrase|"
    r"by\b|creat|invent|author|maker|develop|person|people|team|defin|mean|explain|describ",
    re.IGNORECASE,
)
"""What says which kind of answer is asked for."""
_PLAIN_WORD = re.compile(r"[A-Za-z]+")
_BRACES = re.compile(r"[{}]")
_LITTLE_WORDS = re.compile(r"(?<!\{)\b(?:an?|the|is|are|was|were|do|does|did|of|please)\b ?", re.IGNORECASE)


class Typist:
    """Types questions about the entries of one part."""

    def __init__(self, corpus: Corpus, entries: Sequence[int], distractors: Distractors, *, is_varied: bool) -> None:
        """Holds what questions may mention.

        Args:
            corpus: With the entries.
            entries: Indices of the part's.
            distractors: Of the part.
            is_varied: Whether questions are asked in all ways, to learn from; or plainly, to measure by.
        """
        self._corpus = corpus
        self._entries = entries
        self._distractors = distractors
        self._is_varied = is_varied

    def ask(self, asked: Triple, wording: str, random: np.random.Generator) -> str:
        """Asks as people do: without capitals, without a mark at the end; to learn, also in many more ways.

        Args:
            asked: What is asked about.
            wording: As in WORDINGS.
            random: Decides the spelling and all that is varied.
        """
        subject = asked.subject
        question = self._varied(asked, wording, random) if self._is_varied else ask(asked, wording)
        lower, lower_subject, bare = random.random(3) < (_LOWER, _LOWER_SUBJECT, _BARE)
        if lower:
            question = question.lower()
        elif lower_subject:
            question = question.replace(subject, subject.lower())
        return question.rstrip("?.") if bare else question

    def wordings(self, kind: str) -> Sequence[str]:
        """The wordings of a kind that are drawn from: all of them to learn, else the plain ones."""
        return WORDINGS[kind] if self._is_varied else plainly(kind)

    def _varied(self, asked: Triple, wording: str, random: np.random.Generator) -> str:
        """Asks among other words, with words missing, with something that is mentioned in passing."""
        garbled, shortened, framed, preceded = random.random(4) < (_GARBLED, _SHORTENED, _FRAMED, _PRECEDED)
        around = "{q}"
        if framed:
            around = str(random.choice(FRAMES))
        elif preceded:
            around = f"{self._before(asked.entry, random)} {{q}}"
        other = self._mentioned(asked, random) if "{o}" in wording + around else ""
        if garbled:
            wording = self._garbled(wording, random)
        if shortened:
            wording = _LITTLE_WORDS.sub("", wording)
        question = ask(asked, wording, other=other)
        # Of a long question its end is not read.
        return around.format(q=question, o=other) if len(question.split()) <= _MOST_FRAMED else question

    def _before(self, entry: int, random: np.random.Generator) -> str:
        """What stands before a question: a remark, or the beginning of another entry's text."""
        other = self._entries[int(random.integers(len(self._entries)))]
        if other == entry or random.random() < 0.5:
            return str(random.choice(BEFORE))
        words = _BRACES.sub("", self._corpus.entries[other].text).split()[: int(random.integers(3, _MOST_BEFORE))]
        return f"{' '.join(words).rstrip('.')}."

    def _garbled(self, wording: str, random: np.random.Generator) -> str:
        """Leaves words of a wording out, or puts others in their places, but those that say what is asked for."""
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

    def _mentioned(self, asked: Triple, random: np.random.Generator) -> str:
        """What a question may mention in passing: a field, or a name that is near the one that it asks about."""
        entry = self._corpus.entries[asked.entry]
        titles = [self._corpus.entries[each].title for each in self._distractors.found(entry.text[:_BEGINNING], asked)]
        own = [name.casefold() for name in (asked.subject, *entry.names) if name]
        names = [
            title for title in titles if not any(name in title.casefold() or title.casefold() in name for name in own)
        ]
        if entry.domains and (not names or random.random() < _FIELD):
            names = list(entry.domains)
        if not names:
            other = self._corpus.entries[self._entries[int(random.integers(len(self._entries)))]].title
            names = ["this" if other.casefold() in own else other]
        return _BRACES.sub("", names[int(random.integers(len(names)))])
