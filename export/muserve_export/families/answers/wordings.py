"""Asks questions in the words of wordings.toml, several for each kind; and says answers in whole sentences."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping, Sequence
from importlib.resources import files

from muserve_export.families.answers.triples import Triple

__all__ = ["WORDINGS", "answer_sentence", "ask"]

WORDINGS: Mapping[str, Sequence[str]] = tomllib.loads(
    (files("muserve_export.families.answers") / "wordings.toml").read_text(encoding="utf-8")
)
"""Wordings by kind, out of wordings.toml; the commonest stand twice."""

_IRREGULAR = {"written": ("write", "wrote"), "built": ("build", "built"), "made": ("make", "made")}
_WITHOUT_E = frozenset(
    (
        "invented", "designed", "developed", "launched", "published", "founded", "implemented", "coined", "started",
        "discovered", "marketed",
    )
)  # fmt: skip


def ask(triple: Triple, wording: str) -> str:
    """Puts a triple's words into a wording."""
    past = _IRREGULAR.get(triple.verb, ("", triple.verb))[1]
    return wording.format(x=triple.subject, verb=triple.verb, past=past, do=_plain_form(triple.verb))


def _plain_form(verb: str) -> str:
    """Returns "develop" for "developed"."""
    if verb in _IRREGULAR:
        return _IRREGULAR[verb][0]
    if verb in _WITHOUT_E:
        return verb.removesuffix("ed")
    return verb.removesuffix("d")


def answer_sentence(triple: Triple) -> str:
    """Says an answer in a whole sentence."""
    x, answer = triple.subject, triple.answer
    if triple.kind == "what":
        # A glossary's sentences are whole already.
        is_whole = re.match(rf"(?:(?:an?|the) )?{re.escape(x)}\b", answer, re.IGNORECASE)
        if is_whole:
            return answer
        return f"{_capital(x)} is {_uncapital(answer)}"
    said = f"{x} stands for {answer}"
    if triple.kind != "stands for":
        said = f"{_capital(x)} was {triple.verb} {triple.preposition} {answer}"
    return said if said.endswith(".") else f"{said}."


def _capital(text: str) -> str:
    """Begins a sentence, unless the name has a spelling of its own: "iOS", "gRPC"."""
    first = text.split(" ")[0]
    is_plain = first.replace("-", "").isalpha() and first.islower() and len(first) > 2
    return text[:1].upper() + text[1:] if is_plain else text


def _uncapital(text: str) -> str:
    first = text.split(" ")[0]
    return text[:1].lower() + text[1:] if first.istitle() else text
