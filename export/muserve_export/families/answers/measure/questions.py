"""The questions that a bundle is measured by: of one part, each with what is right; and those in other words."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from muserve_export.families.answers.examples.maker import Example, ExampleMaker
from muserve_export.families.answers.examples.wordings import WORDINGS, plainly

__all__ = ["Asked", "Keyed", "is_right", "joined", "questions_of", "read_keyed", "silent_questions_of"]

SEED = 6_000
_KEYED = {"test": "questions.jsonl", "validation": "questions-validation.jsonl"}
_EMPTY_LINE = "\n\n"


@dataclass(frozen=True)
class Asked:
    """A question beside its context."""

    example: Example
    """Question, passages and answer."""
    group: str
    """Its kind, and for "what" whether one entry or several are in the context."""

    @property
    def context(self) -> str:
        """The passages as a caller would send them."""
        return joined(self.example.passages)

    @property
    def key(self) -> str:
        """What the evidence says; "" without an answer."""
        found = self.example.evidence
        return self.example.passages[found.passage][found.start : found.end] if found else ""


@dataclass(frozen=True)
class Keyed:
    """A question in words of its own, with what a right answer must say."""

    question: str
    """As a person typed it."""
    kind: str
    """One of `triples.KINDS`."""
    entry: str
    """Title of the entry that answers it."""
    keys: tuple[tuple[str, ...], ...]
    """Of each of these a right answer says at least one."""


def joined(passages: Sequence[str]) -> str:
    """Puts passages into one context, empty lines between them."""
    return _EMPTY_LINE.join(passages)


def questions_of(maker: ExampleMaker, most: int) -> list[Asked]:
    """Asks about the triples of a part, each once.

    Args:
        maker: Of the part.
        most: Most questions of a kind; chosen by seed.
    """
    random = np.random.default_rng(SEED)
    asked: list[Asked] = []
    for kind in WORDINGS:
        own = [triple for triple in maker.triples if triple.kind == kind]
        for index in sorted(random.permutation(len(own))[:most].tolist()):
            example = maker.of_triple(own[index], str(random.choice(plainly(kind))), random)
            if example.evidence is None:
                continue
            group = kind if kind != "what" else f"what_{'one' if len(example.passages) == 1 else 'several'}"
            asked.append(Asked(example, group.replace(" ", "_")))
    known = [pair for pair in maker.pairs if pair.answer]
    chosen = sorted(random.permutation(len(known))[:most].tolist())
    return [*asked, *(Asked(maker.of_pair(known[index], random), "pairs") for index in chosen)]


def silent_questions_of(maker: ExampleMaker, most: int) -> list[Asked]:
    """Asks what passages do not say: of half of them the entry is among the passages."""
    random = np.random.default_rng(SEED + 1)
    asked: list[Asked] = []
    seen: set[tuple[int, str, str]] = set()
    for _ in range(20 * most):
        example = maker.draw(random)
        group = "named" if example.position >= 0 else "absent"
        # Of an entry each kind is asked once.
        if not example.answer and (example.subject, example.kind, group) not in seen:
            seen.add((example.subject, example.kind, group))
            asked.append(Asked(example, group))
        if len(asked) == most:
            break
    return asked


def read_keyed(part: str) -> list[Keyed]:
    """Reads questions in people's own words: they were written without sight of the wordings.

    Args:
        part: "test" for the 200 about its entries, written before any training and never looked at to choose anything;
            "validation" for those about its entries, to choose and to calibrate by.
    """
    text = (files("muserve_export.families.answers.measure") / _KEYED[part]).read_text(encoding="utf-8")
    rows: list[Mapping[str, object]] = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [_keyed(row) for row in rows]


def _keyed(row: Mapping[str, object]) -> Keyed:
    keys = row["keys"]
    if not isinstance(keys, list):
        raise TypeError(f"keys are {keys!r}; they must be lists of texts")
    return Keyed(str(row["question"]), str(row["kind"]), str(row["entry"]), tuple(tuple(each) for each in keys))


def is_right(answer: str, keys: Sequence[Sequence[str]]) -> bool:
    """Whether an answer says one of each: as the beginning of a word, and capitals and numbers as a whole one."""
    said = " ".join(answer.split())
    return bool(said) and all(any(_says(said, key) for key in each) for each in keys)


def _says(said: str, key: str) -> bool:
    ending = r"(?!\w)" if key.isupper() or key.isdigit() else ""
    return re.search(rf"(?<!\w){re.escape(key)}{ending}", said, re.IGNORECASE) is not None
