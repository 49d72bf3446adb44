"""Evaluation questions of one part, with their answers; and hand-written questions."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files

import numpy as np

from muserve_export.families.answers.examples.maker import Example, ExampleMaker
from muserve_export.families.answers.examples.wordings import WORDINGS, plain_wordings

__all__ = [
    "HeldOutQuestion",
    "KeyedQuestion",
    "answerable_questions",
    "is_right",
    "join_passages",
    "read_keyed",
    "unanswerable_questions",
]

SEED = 6_000
_KEYED = {"test": "questions.jsonl", "validation": "questions-validation.jsonl"}
_EMPTY_LINE = "\n\n"


@dataclass(frozen=True)
class HeldOutQuestion:
    """A question with its context."""

    example: Example
    """Question, passages and answer."""
    group: str
    """Its kind, and for "what" whether one entry or several are in the context."""

    @property
    def context(self) -> str:
        """The passages as one context, as a caller would send it."""
        return join_passages(self.example.passages)

    @property
    def key(self) -> str:
        """Text of the evidence; "" without an answer."""
        evidence = self.example.evidence
        return self.example.passages[evidence.passage][evidence.start : evidence.end] if evidence else ""


@dataclass(frozen=True)
class KeyedQuestion:
    """A hand-written question, with keywords of the right answer."""

    question: str
    """The question."""
    kind: str
    """One of `triples.KINDS`."""
    entry: str
    """Title of the entry that answers it."""
    keys: tuple[tuple[str, ...], ...]
    """A right answer contains at least one keyword of each group."""


def join_passages(passages: Sequence[str]) -> str:
    """Joins passages into one context, separated by empty lines."""
    return _EMPTY_LINE.join(passages)


def answerable_questions(maker: ExampleMaker, max_count: int) -> list[HeldOutQuestion]:
    """Returns questions about the facts of a part, each once.

    Args:
        maker: Of the part.
        max_count: Maximum number of questions of a kind, chosen by seed.
    """
    random = np.random.default_rng(SEED)
    questions: list[HeldOutQuestion] = []
    for kind in WORDINGS:
        of_kind = [triple for triple in maker.triples if triple.kind == kind]
        for index in sorted(random.permutation(len(of_kind))[:max_count].tolist()):
            example = maker.of_triple(of_kind[index], str(random.choice(plain_wordings(kind))), random)
            if example.evidence is None:
                continue
            group = kind if kind != "what" else f"what_{'one' if len(example.passages) == 1 else 'several'}"
            questions.append(HeldOutQuestion(example, group.replace(" ", "_")))
    known = [pair for pair in maker.pairs if pair.answer]
    chosen = sorted(random.permutation(len(known))[:max_count].tolist())
    return [*questions, *(HeldOutQuestion(maker.of_pair(known[index], random), "pairs") for index in chosen)]


def unanswerable_questions(maker: ExampleMaker, max_count: int) -> list[HeldOutQuestion]:
    """Returns questions that the passages do not answer; half of them with the entry among the passages."""
    random = np.random.default_rng(SEED + 1)
    questions: list[HeldOutQuestion] = []
    seen: set[tuple[int, str, str]] = set()
    for _ in range(20 * max_count):
        example = maker.draw(random)
        group = "named" if example.position >= 0 else "absent"
        # Of an entry each kind is asked once.
        if not example.answer and (example.subject, example.kind, group) not in seen:
            seen.add((example.subject, example.kind, group))
            questions.append(HeldOutQuestion(example, group))
        if len(questions) == max_count:
            break
    return questions


def read_keyed(part: str) -> list[KeyedQuestion]:
    """Reads the hand-written questions, whose authors did not see the templates.

    Args:
        part: "test" for the 200 about its entries, written before any training and never looked at to choose anything;
            "validation" for those about its entries, to choose and to calibrate by.
    """
    text = (files("muserve_export.families.answers.measure") / _KEYED[part]).read_text(encoding="utf-8")
    rows: list[Mapping[str, object]] = [json.loads(line) for line in text.splitlines() if line.strip()]
    return [_keyed(row) for row in rows]


def _keyed(row: Mapping[str, object]) -> KeyedQuestion:
    keys = row["keys"]
    if not isinstance(keys, list):
        raise TypeError(f"keys are {keys!r}; they must be lists of texts")
    return KeyedQuestion(str(row["question"]), str(row["kind"]), str(row["entry"]), tuple(tuple(each) for each in keys))


def is_right(answer: str, keys: Sequence[Sequence[str]]) -> bool:
    """Returns whether an answer has a keyword of each group, as a prefix; upper case and numbers as whole words."""
    text = " ".join(answer.split())
    return bool(text) and all(any(_says(text, key) for key in each) for each in keys)


def _says(text: str, key: str) -> bool:
    ending = r"(?!\w)" if key.isupper() or key.isdigit() else ""
    return re.search(rf"(?<!\w){re.escape(key)}{ending}", text, re.IGNORECASE) is not None
