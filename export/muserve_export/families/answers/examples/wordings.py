"""Turns facts into text: questions by the templates of wordings.toml, and answers as whole sentences."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from muserve_export.families.answers.corpus.triples import Triple

__all__ = ["BEFORE", "FRAMES", "PLAIN", "WORDINGS", "answer_sentence", "ask", "plain_wordings"]

_ALL: Mapping[str, Any] = tomllib.loads(
    (files("muserve_export.families.answers.examples") / "wordings.toml").read_text(encoding="utf-8")
)
WORDINGS: Mapping[str, Sequence[str]] = {
    kind: own for kind, own in _ALL.items() if kind not in ("frames", "before", "plain")
}
"""Question templates by kind, from wordings.toml; the most common ones are listed twice."""

FRAMES: Sequence[str] = _ALL["frames"]
"""Templates of what people write around a question {q} of any kind."""

BEFORE: Sequence[str] = _ALL["before"]
"""Remarks before a question."""

PLAIN: Mapping[str, Sequence[str]] = _ALL["plain"]
"""The few templates by which the model itself asks questions."""

_IRREGULAR = {"written": ("write", "wrote"), "built": ("build", "built"), "made": ("make", "made")}
_WITHOUT_E = frozenset(
    (
        "invented", "designed", "developed", "launched", "published", "founded", "implemented", "coined", "started",
        "discovered", "marketed",
    )
)  # fmt: skip


def ask(triple: Triple, wording: str, article: str = "", other: str = "") -> str:
    """Fills a question template.

    Args:
        triple: The fact that is asked about.
        wording: The template, with {x} for the subject; wordings.toml lists the other fields.
        article: Article of the subject: "a", "an" or "".
        other: Name to mention in passing, for {o}.
    """
    past = _IRREGULAR.get(triple.verb, ("", triple.verb))[1]
    subject, plain = _with(article, triple.subject), _plain_form(triple.verb)
    return wording.format(x=subject, o=other, verb=triple.verb, past=past, do=plain)


def _plain_form(verb: str) -> str:
    """Returns "develop" for "developed"."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb][0]
    if verb in _WITHOUT_E:
        return verb.removesuffix("ed")
    return verb.removesuffix("d")


def answer_sentence(triple: Triple, article: str = "") -> str:
    """Returns an answer as a whole sentence.

    Args:
        triple: The fact.
        article: Article of the subject: "a", "an" or "".
    """
    x, answer = triple.subject, triple.answer
    if triple.kind == "what":
        # A glossary's sentences are whole already.
        is_whole = re.match(rf"(?:(?:an?|the) )?{re.escape(x)}\b", answer, re.IGNORECASE)
        if is_whole:
            return answer
        return f"{_capital(_with(article, x))} is {_uncapital(answer)}"
    sentence = f"{x} stands for {answer}"
    if triple.kind != "stands for":
        sentence = f"{_capital(_with(article, x))} was {triple.verb} {triple.preposition} {answer}"
    return sentence if sentence.endswith(".") else f"{sentence}."


def plain_wordings(kind: str) -> Sequence[str]:
    """Returns the templates of a kind that mention nothing in passing."""
    return [wording for wording in WORDINGS[kind] if "{o}" not in wording]


def _with(article: str, subject: str) -> str:
    return f"{article} {subject}" if article else subject


def _capital(text: str) -> str:
    """Capitalises the first letter, except of names such as "iOS" and "gRPC"."""
    first = text.split(" ")[0]
    is_plain = first.replace("-", "").isalpha() and first.islower() and (len(first) > 2 or first in ("a", "an"))
    return text[:1].upper() + text[1:] if is_plain else text


def _uncapital(text: str) -> str:
    first = text.split(" ")[0]
    return text[:1].lower() + text[1:] if first.istitle() else text
