"""Reads the Free On-line Dictionary of Computing in the form that dictd serves: an index and one compressed text.

A text begins with its headlines, the name and what else it is called; indented paragraphs follow:

    Language for Communicating Systems
    LCS

       <language> (LCS) A {concurrent} {SML} by Bernard Berthomieu.

       {(http://laas.fr/~bernard/lcs.html)}.

       (2000-03-28)

What is no prose goes: links and addresses, citations, the date of the last edit, code and tables.
"""

from __future__ import annotations

import gzip
import re
import zlib
from collections.abc import Iterator
from pathlib import Path

from muserve_export.errors import DataError
from muserve_export.families.answers.corpus.triples import spells
from muserve_server.tasks.answer.entries import Entry

__all__ = ["LICENCE", "ORIGIN", "read_foldoc"]

ORIGIN = "The Free On-line Dictionary of Computing, http://www.foldoc.org/, Editor Denis Howe"
LICENCE = "Copyright 1993 by Denis Howe; GNU Free Documentation License, version 1.1 or later; see THIRD_PARTY.md"

_DIGITS = {
    character: value
    for value, character in enumerate("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")
}
_ABOUT_ITSELF = "<introduction>"
# Debian adds a few entries of its own, which have another licence: they are indented more, as code is, or marked.
_OF_DEBIAN = re.compile(r"<Debian>|\ADictionary\.debian")

_DOMAINS = re.compile(r"^((?:\d+\. )?)<([A-Za-z][\w ,/&-]*)> ?")
_SENSE = re.compile(r"^\d+\. ")
_DATE = re.compile(r"\(\d{4}-\d{2}-\d{2}\)$")
_BARE_LINK = re.compile(r"\{?\((?:https?|ftp|mailto|news|telnet|file):[^)]*\)\}?")
_NAMED_LINK = re.compile(r"\{([^{}]*?) ?\((?:https?:|ftp:|mailto:|news:|[^()]*\.html)[^()]*\)\}")
_LINK = re.compile(r"\{([^{}]*)\}")
_ADDRESS = re.compile(r" ?<[^<>\s]+@[^<>\s]+>|\(?(?:https?|ftp)://\S+|\b[\w.+-]+@[\w-]+\.[\w.]+\b")
_CITATION = re.compile(r" ?\[[^\[\]]{2,}\]\.?")  # one letter is an index: "a[i]"
_PRONOUNCED = re.compile(r" ?(?<![\w/])/[^/\s][^/]{0,40}[^/\s]/(?=[\s,;.)])(?:,? (?:or|\*not\*) /[^/]{2,40}/)*")
_LEFT_LABEL = re.compile(
    r" ?\b(?:E-?mail|Mailing list|Usenet newsgroups?|Telephone|Home page|Address): ?(?:\(\?\) ?)?(?:\.|$)"
)
_EMPTY, _STRESSED = re.compile(r"\( *\)"), re.compile(r"[*_]{1,2}(\w[^*_]*\w)[*_]{1,2}")
_SPACE_BEFORE_MARK, _LEFT_COMMA = re.compile(r"\s+([,;:)]|\.(?!\w))"), re.compile(r",(?=[,.])")
# In this order: each may leave what a later one takes away.
_CLEANED = (
    (_NAMED_LINK, r"\1"), (_BARE_LINK, ""), (_LINK, r"\1"), (_ADDRESS, ""), (_CITATION, ""), (_PRONOUNCED, ""),
    (_DATE, ""), (_EMPTY, ""), (_STRESSED, r"\1"), (_SPACE_BEFORE_MARK, r"\1"), (_LEFT_LABEL, ""),
    (_LEFT_COMMA, ""),
)  # fmt: skip
_NAMES_FIRST = re.compile(r"^(\([^()]{1,80}\)) (<[A-Za-z][\w ,/&-]*>) ")
_REPEATED = re.compile(r"^\(([^()]{1,80})\) (?=[A-Z])")
_OTHER_NAMES = re.compile(r"(?:^|[,;]| or )\s*(?:Or |or |formerly )?\"?([^,;\"]+?)\"?(?=$|[,;]| or )")
_NO_PROSE = re.compile(
    r"^(?:See(?: also)?:?|Compare(?: with)?|Contrast(?: with)?|Opposite of|E-?mail:?|Mailing list:|Usenet newsgroups?:|"
    r"(?:Latest |Current )?[Vv]ersion:|Home(?: page)?|Telephone:|Address:|\[|\(See|Not to be confused)(?![a-z])"
)


def read_foldoc(folder: Path) -> list[Entry]:
    """Reads the dictionary.

    Args:
        folder: With foldoc.index and foldoc.dict.dz, as in Debian's dict-foldoc; Debian's own entries in it, which have
            another licence, are left out.

    Returns:
        Entries with prose, in the order of the index's offsets.

    Raises:
        DataError: The files are not there, or damaged.
    """
    index, text = _find(folder, "foldoc.index"), _find(folder, "foldoc.dict.dz")
    try:
        content = gzip.decompress(text.read_bytes())
        places = sorted({_place(line) for line in index.read_text(encoding="utf-8").splitlines() if line.strip()})
        texts = [content[offset : offset + length].decode() for offset, length in places]
    except (OSError, EOFError, zlib.error, ValueError, KeyError) as error:
        raise DataError(f"{index} and {text.name}: cannot be read ({error}); fetch dict-foldoc again") from error
    entries = list(filter(None, map(_parse, texts)))
    if not entries:
        raise DataError(f"{index}: has no entries; fetch dict-foldoc again")
    return entries


def _find(folder: Path, name: str) -> Path:
    found = sorted(folder.rglob(name))
    if not found:
        raise DataError(f"{folder} has no {name}; pass the folder or the package that has it: --source PATH")
    return found[0]


def _place(line: str) -> tuple[int, int]:
    _, offset, length = line.split("\t")
    return _number(offset), _number(length)


def _number(text: str) -> int:
    value = 0
    for character in text:
        value = 64 * value + _DIGITS[character]
    return value


def _parse(text: str) -> Entry | None:
    """Reads one text; None if it has no prose, is about the dictionary itself, or Debian's."""
    lines = text.rstrip().split("\n")
    names = []
    while lines and lines[0] and not lines[0].startswith(" "):
        names.append(" ".join(lines.pop(0).split()))
    if not names or _ABOUT_ITSELF in text or _OF_DEBIAN.search(text):
        return None
    domains: list[str] = []
    paragraphs: list[str] = []
    for paragraph in _paragraphs(lines):
        paragraph = _NAMES_FIRST.sub(r"\2 \1 ", paragraph)
        if found := _DOMAINS.match(paragraph):
            domains += [domain.strip() for domain in found[2].split(",") if domain.strip() not in domains]
            paragraph = found[1] + paragraph[found.end() :]
        if not paragraphs:
            paragraph = _without_names(paragraph, names)
        if prose := _clean(paragraph):
            paragraphs.append(prose)
    if not paragraphs:
        return None
    return Entry(names[0], tuple(dict.fromkeys(names[1:])), tuple(domains), "\n".join(paragraphs))


def _paragraphs(lines: list[str]) -> Iterator[str]:
    """Yields what is indented as prose is, each paragraph in one line."""
    for block in "\n".join(lines).split("\n\n"):
        kept = [line for line in block.split("\n") if line.strip()]
        # Three blanks are prose; more are code, tables and lists.
        if kept and not any(line.startswith("    ") for line in kept):
            yield " ".join(" ".join(kept).split())


def _without_names(paragraph: str, names: list[str]) -> str:
    """Drops what the first paragraph says of names: "(LCS) A …", '(Or "smash sum") In …'; new ones join the others."""
    sense = _SENSE.match(paragraph)
    start = sense.end() if sense else 0
    found = _REPEATED.match(paragraph[start:])
    if not found:
        return paragraph
    known = {name.casefold() for name in names}
    aliases = [name.strip() for name in _OTHER_NAMES.findall(found[1])]
    if not aliases or not all(name.casefold() in known or _is_short_for(name, names[0]) for name in aliases):
        return paragraph
    names += [name for name in aliases if name.casefold() not in known]
    return paragraph[:start] + paragraph[start + found.end() :]


def _is_short_for(name: str, title: str) -> bool:
    """Whether a name is the acronym of a title: "(LCS)" behind "Language for Communicating Systems"."""
    return name.isupper() and name.isalnum() and 2 <= len(name) <= 8 and spells(name, title)


def _clean(paragraph: str) -> str:
    """Returns a paragraph's prose, or "" if it has none."""
    if _NO_PROSE.match(paragraph) or _DATE.fullmatch(paragraph):
        return ""
    for pattern, replacement in _CLEANED:
        paragraph = pattern.sub(replacement, paragraph)
    paragraph = " ".join(paragraph.split())
    return paragraph if len(re.findall(r"[A-Za-z]{2,}", paragraph)) >= 2 else ""
