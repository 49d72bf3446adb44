"""Asks questions in the words of wordings.toml, several for each kind; and says answers in whole sentences."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files
from typing import Any

from muserve_export.families.answers.corpus.triples import Triple

__all__ = ["BEFORE", "FRAMES", "PLAIN", "WORDINGS", "answer_sentence", "ask", "plainly"]

_ALL: Mapping[str, Any] = tomllib.loads(
    (files("muserve_export.families.answers.examples") / "wordings.toml").read_text(encoding="utf-8")
)
WORDINGS: Mapping[str, Sequence[str]] = {
    kind: own for kind, own in _ALL.items() if kind not in ("frames", "before", "plain")
}
"""Wordings by kind, out of wordings.toml; the commonest stand twice."""

FRAMES: Sequence[str] = _ALL["frames"]
"""What people say around a question {q}, of whatever kind."""

BEFORE: Sequence[str] = _ALL["before"]
"""What they say before it."""

PLAIN: Mapping[str, Sequence[str]] = _ALL["plain"]
"""The few in which questions are asked by the model itself."""

_IRREGULAR = {"written": ("write", "wrote"), "built": ("build", "built"), "made": ("make", "made")}
_WITHOUT_E = frozenset(
    (
        "invented", "designed", "developed", "launched", "published", "founded", "implemented", "coined", "started",
        "discovered", "marketed",
    )
)  # fmt: skip


def ask(triple: Triple, wording: str, article: str = "", other: str = "") -> str:
    """Puts a triple's words into a wording.

    Args:
        triple: What is asked about.
        wording: With {x} for its subject, and more as in wordings.toml.
        article: What stands before the subject: "a", "an" or nothing.
        other: What is mentioned in passing, where a wording has {o}.
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
    """Says an answer in a whole sentence.

    Args:
        triple: The answer and what it is about.
        article: What stands before the subject: "a", "an" or nothing.
    """
    x, answer = triple.subject, triple.answer
    if triple.kind == "what":
        # A glossary's sentences are whole already.
        is_whole = re.match(rf"(?:(?:an?|the) )?{re.escape(x)}\b", answer, re.IGNORECASE)
        if is_whole:
            return answer
        return f"{_capital(_with(article, x))} is {_uncapital(answer)}"
    said = f"{x} stands for {answer}"
    if triple.kind != "stands for":
        said = f"{_capital(_with(article, x))} was {triple.verb} {triple.preposition} {answer}"
    return said if said.endswith(".") else f"{said}."


def plainly(kind: str) -> Sequence[str]:
    """The wordings of a kind in which nothing else is mentioned in passing."""
    return [wording for wording in WORDINGS[kind] if "{o}" not in wording]


def _with(article: str, subject: str) -> str:
    return f"{article} {subject}" if article else subject


def _capital(text: str) -> str:
    """Begins a sentence, unless the name has a spelling of its own: "iOS", "gRPC"."""
    first = text.split(" ")[0]
    is_plain = first.replace("-", "").isalpha() and first.islower() and (len(first) > 2 or first in ("a", "an"))
    return text[:1].upper() + text[1:] if is_plain else text


def _uncapital(text: str) -> str:
    first = text.split(" ")[0]
    return text[:1].lower() + text[1:] if first.istitle() else text
