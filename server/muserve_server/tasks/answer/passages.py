"""Cuts texts into passages that a reader can read at once, and knows where each stands in its text."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace

from muserve_server.tasks.answer.entries import Entry

__all__ = ["Passage", "cut_context", "cut_entry"]

_BLOCK_END = re.compile(r"\n[ \t\r\f\v]*\n\s*")
_SENTENCE_END = re.compile(r"(?:(?<=[.!?])|(?<=[.!?][\")\]]))\s+(?=[\"'(\[]?[^\Wa-z_])|\n+")
_HEADING = re.compile(r"(?:(?![.!?]\s)[^\n]){1,160}?: (?=\S)")
_MIN_SENTENCE = 20
"""Shorter pieces are no sentences: "e.g. A"."""


@dataclass(frozen=True)
class Passage:
    """What is read at once."""

    text: str
    """Its heading, if there is one, and a piece of a text."""
    heading: str
    """What stands before that piece: "tool (instrument): "; "" if nothing does."""
    start: int
    """Where the piece begins in the text that it was cut from."""
    heading_start: int
    """Where the heading begins in it."""
    entry: int = -1
    """Index of the entry that it belongs to; -1 for a text of the caller's."""

    def one_piece(self, start: int, end: int) -> tuple[int, int]:
        """Cuts a part of the passage to what stands in one piece in its text: it loses a heading from elsewhere.

        Args:
            start: First character in the passage.
            end: One after its last.
        """
        length = len(self.heading)
        is_one = self.heading_start + length == self.start
        return (length, end) if start < length < end and not is_one else (start, end)

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Finds a part of the passage, in one piece, in the text that it was cut from.

        Args:
            start: First character in the passage.
            end: One after its last.
        """
        length = len(self.heading)
        first = self.heading_start + start if start < length else self.start + start - length
        return first, first + end - start

    def split(self, at: int) -> tuple[Passage, Passage]:
        """Cuts the passage in two; both have its heading.

        Args:
            at: A character behind the heading.
        """
        start = at + len(self.text[at:]) - len(self.text[at:].lstrip())
        behind = replace(self, text=self.heading + self.text[start:], start=self.start + start - len(self.heading))
        return replace(self, text=self.text[:at].rstrip()), behind


def cut_entry(entry: Entry, index: int, maximum: int) -> list[Passage]:
    """Cuts an entry; each passage begins with its names.

    Args:
        entry: To cut.
        index: The entry's.
        maximum: Maximum characters of a passage.
    """
    heading = entry.heading if len(entry.heading) <= maximum // 2 else ""
    pieces = _pieces(entry.text, 0, len(entry.text), maximum - len(heading), overlap=False)
    return [Passage(heading + entry.text[start:end], heading, start, 0, index) for start, end in pieces]


def cut_context(context: str, maximum: int) -> list[Passage]:
    """Cuts a text of the caller's at empty lines, and what is longer than a passage at the ends of sentences.

    A heading such as "tool: " stands before each passage of its paragraph; without one, passages share a sentence.

    Args:
        context: Any text.
        maximum: Maximum characters of a passage.
    """
    found = []
    for start, end in _blocks(context):
        heading = _HEADING.match(context, start, end)
        length = heading.end() - start if heading and heading.end() - start <= maximum // 2 else 0
        pieces = _pieces(context, start + length, end, maximum - length, overlap=not length)
        for first, last in pieces:
            name = context[start : start + length]
            found.append(Passage(name + context[first:last], name, first, start))
    return found


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yields where the pieces between empty lines begin and end, without white space around them."""
    start = 0
    for first, last in [*(found.span() for found in _BLOCK_END.finditer(text)), (len(text), len(text))]:
        block = text[start:first]
        if block.strip():
            yield start + len(block) - len(block.lstrip()), start + len(block.rstrip())
        start = last


def _pieces(text: str, start: int, end: int, maximum: int, *, overlap: bool) -> list[tuple[int, int]]:
    """Packs sentences into pieces of at most so many characters, none of white space alone or with it around."""
    return [
        (first + len(piece) - len(piece.lstrip()), first + len(piece.rstrip()))
        for first, last in _pack(text, start, end, maximum, overlap=overlap)
        if (piece := text[first:last]).strip()
    ]


def _pack(text: str, start: int, end: int, maximum: int, *, overlap: bool) -> list[tuple[int, int]]:
    if end - start <= maximum:
        return [(start, end)] if end > start else []
    pieces: list[tuple[int, int]] = []
    held: list[tuple[int, int]] = []
    for sentence in _sentences(text, start, end, maximum):
        if held and sentence[1] - held[0][0] > maximum:
            pieces.append((held[0][0], held[-1][1]))
            held = held[-1:] if overlap and len(held) > 1 and sentence[1] - held[-1][0] <= maximum else []
        held.append(sentence)
    return [*pieces, (held[0][0], held[-1][1])] if held else pieces


def _sentences(text: str, start: int, end: int, maximum: int) -> Iterator[tuple[int, int]]:
    """Yields where sentences begin and end; those that are too long are cut at words."""
    ends = [found.span() for found in _SENTENCE_END.finditer(text, start, end)]
    for first, last in [*ends, (end, end)]:
        if first - start < _MIN_SENTENCE and first < end:
            continue
        yield from _cut_long(text, start, first, maximum)
        start = last


def _cut_long(text: str, start: int, end: int, maximum: int) -> Iterator[tuple[int, int]]:
    while end - start > maximum:
        space = max(text.rfind(" ", start + 1, start + maximum + 1), text.rfind("\n", start + 1, start + maximum + 1))
        cut = space if space > start else start + maximum
        yield start, cut
        start = cut + 1 if space > start else cut
    if end > start:
        yield start, end
