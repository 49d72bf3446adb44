"""Finds questions that an entry certainly does not answer, by the words that an answer would need."""

from __future__ import annotations

import re

from muserve_export.families.answers.corpus.triples import spells
from muserve_server.tasks.answer.entries import Entry

__all__ = ["find_silent_kinds"]

_YEAR = re.compile(
    r"\b(?:1[5-9]|20)\d\d(?!\d)|'\d\d\b|\b\d0'?s\b|(?:twen|thir|for|fif|six|seven|eigh|nine)ties|century"
)
_ACTS = re.compile(
    r"\b(?:by|from|author|creator|inventor|founder|designer|developer)\b|\b(?:develop|writ|wrote|design|invent|creat|"
    r"introduc|propos|releas|publish|found|built|implement|produc|coin|announc|launch|made|devis|discover|defin|start|"
    r"conceiv|manufactur|market)\w*|(?-i:\b[A-Z][\w.]+'s?\s|\b[A-Z]\. ?[A-Z])",
    re.IGNORECASE,
)
_PLACES = re.compile(
    r"\b(?:at|in|from|of) (?:the )?(?-i:[A-Z])|universit|laborator|institut|college|\b(?:Labs?|Inc|Ltd|Corp)\b",
    re.IGNORECASE,
)


def find_silent_kinds(entry: Entry) -> list[str]:
    """Returns the kinds of question that an entry certainly does not answer, since it has no word that could.

    "what" is never among them.
    """
    silent = []
    if any(name.isupper() and name.isalpha() and 2 < len(name) < 8 for name in entry.names) and not any(
        _is_spelled_out(name, entry) for name in entry.names
    ):
        silent.append("stands for")
    if not _ACTS.search(entry.text):
        silent.append("who")
    if not _YEAR.search(entry.text):
        silent.append("when")
    if not _PLACES.search(entry.text):
        silent.append("where")
    return silent


def _is_spelled_out(name: str, entry: Entry) -> bool:
    """Returns whether any sequence of words in an entry could spell out an acronym."""
    words = re.findall(r"[A-Za-z0-9]+", entry.context.replace(name, " "))
    first = name[0].casefold()
    return any(
        word[0].casefold() == first and spells(name, " ".join(words[index : index + length]))
        for index, word in enumerate(words)
        for length in range(2, len(name) + 4)
    )
