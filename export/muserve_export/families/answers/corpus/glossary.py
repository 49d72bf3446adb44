"""Reads a glossary: entries in TOML, each with what can be asked about it.

[[entry]]
title = "ONNX"
aliases = ["Open Neural Network Exchange"]
domain = "artificial intelligence"
text = "ONNX is an open format for trained models. It was announced by Microsoft and Facebook in 2017."
facts = [
    { kind = "who", verb = "announced", answer = "Microsoft and Facebook" },
    { kind = "when", verb = "announced", answer = "2017" },
]

The first sentence defines; the answers of facts are pieces of the text.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

from muserve_export.errors import DataError
from muserve_export.families.answers.corpus.triples import KINDS, Triple, preposition_before, sentences
from muserve_server.tasks.answer.entries import Entry

__all__ = ["BUNDLED", "LICENCE", "ORIGIN", "read_glossary"]

ORIGIN = "Muserve's own glossary of computing"
LICENCE = "Apache-2.0"

BUNDLED = files("muserve_export.families.answers.corpus") / "glossary.toml"


def read_glossary(path: Path | None = None) -> tuple[list[Entry], list[Triple]]:
    """Reads a glossary.

    Args:
        path: The file; None takes the bundled one.

    Returns:
        Its entries, and what can be asked about them; triples count entries from 0.

    Raises:
        DataError: It is no such file; names the entry and what is wrong with it.
    """
    source = path or BUNDLED
    try:
        content = tomllib.loads(source.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DataError(f"{source}: is no readable TOML file ({error})") from error
    items = content.get("entry")
    if not isinstance(items, list) or not items or not all(isinstance(item, dict) for item in items):
        raise DataError(f"{source}: has no [[entry]]; give title and text of each")
    entries: list[Entry] = []
    triples: list[Triple] = []
    names: dict[str, str] = {}
    for number, item in enumerate(items, start=1):
        title = item.get("title", "")
        try:
            entry = _entry(item)
            for name in {name.casefold() for name in entry.names}:
                if (other := names.setdefault(name, entry.title)) != entry.title:
                    raise DataError(f"the name {name!r} is that of {other!r} too; each name may stand once")
            triples += _triples(len(entries), entry, item.get("facts", []))
        except DataError as error:
            raise DataError(f"{source}: entry {number} ({title!r}): {error}") from error
        entries.append(entry)
    return entries, triples


def _entry(item: Mapping[str, Any]) -> Entry:
    for field in ("title", "text"):
        if not isinstance(item.get(field), str) or not item[field].strip():
            raise DataError(f"{field} is {item.get(field)!r}; it must be a text")
    domain = item.get("domain", "")
    return Entry(item["title"], tuple(item.get("aliases", ())), (domain,) if domain else (), item["text"])


def _triples(index: int, entry: Entry, facts: list[Mapping[str, Any]]) -> Iterator[Triple]:
    start, sentence = sentences(entry.text)[0]
    yield Triple(index, "what", entry.title, start, sentence)
    for fact in facts:
        kind, answer, verb = fact.get("kind", ""), fact.get("answer", ""), fact.get("verb", "")
        if kind not in KINDS[1:]:
            raise DataError(f"the kind of a fact is {kind!r}; allowed: {', '.join(KINDS[1:])}")
        if not answer or entry.text.count(answer) != 1:
            raise DataError(f"the answer {answer!r} stands {entry.text.count(answer)} times in the text; it must once")
        if (kind == "stands for") == bool(verb):
            raise DataError(f"the fact {answer!r} has the verb {verb!r}; who, when and where need one, stands for none")
        place = entry.text.index(answer)
        before = preposition_before(entry.text, place, kind) if verb else ""
        yield Triple(index, kind, entry.title, place, answer, verb, before)
