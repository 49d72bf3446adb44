"""Cuts texts into passages that fit the reader, and maps them back to offsets in their text."""

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
"""Minimum characters of a sentence; shorter pieces are abbreviations: "e.g. A"."""


@dataclass(frozen=True)
class Passage:
    """One input of the reader: a piece of a text."""

    text: str
    """The heading, if there is one, and the piece of the text."""
    heading: str
    """The prefix of the piece: "tool (instrument): "; "" if there is none."""
    start: int
    """Offset of the piece in its text."""
    heading_start: int
    """Offset of the heading in its text."""
    entry: int = -1
    """Index of its entry; -1 for a text of the caller."""

    def one_piece(self, start: int, end: int) -> tuple[int, int]:
        """Trims a range to the part that is contiguous in the text: drops a heading that is not next to the piece.

        Args:
            start: Index of the first character in the passage.
            end: Index after the last.
        """
        length = len(self.heading)
        is_one = self.heading_start + length == self.start
        return (length, end) if start < length < end and not is_one else (start, end)

    def place(self, start: int, end: int) -> tuple[int, int]:
        """Maps a contiguous range of the passage to offsets in its text.

        Args:
            start: Index of the first character in the passage.
            end: Index after the last.
        """
        length = len(self.heading)
        first = self.heading_start + start if start < length else self.start + start - length
        return first, first + end - start

    def split(self, at: int) -> tuple[Passage, Passage]:
        """Cuts the passage in two; both have its heading.

        Args:
            at: Index of a character after the heading.
        """
        start = at + len(self.text[at:]) - len(self.text[at:].lstrip())
        behind = replace(self, text=self.heading + self.text[start:], start=self.start + start - len(self.heading))
        return replace(self, text=self.text[:at].rstrip()), behind


def cut_entry(entry: Entry, index: int, maximum: int) -> list[Passage]:
    """Cuts an entry into passages; each begins with the names of the entry.

    Args:
        entry: The entry.
        index: Index of the entry.
        maximum: Maximum characters of a passage.
    """
    heading = entry.heading if len(entry.heading) <= maximum // 2 else ""
    pieces = _pieces(entry.text, 0, len(entry.text), maximum - len(heading), overlap=False)
    return [Passage(heading + entry.text[start:end], heading, start, 0, index) for start, end in pieces]


def cut_context(context: str, maximum: int) -> list[Passage]:
    """Cuts a text of the caller at empty lines, and longer paragraphs at the ends of sentences.

    Each passage of a paragraph repeats its heading, such as "tool: "; without one, passages overlap by a sentence.

    Args:
        context: Any text.
        maximum: Maximum characters of a passage.
    """
    passages = []
    for start, end in _blocks(context):
        heading = _HEADING.match(context, start, end)
        length = heading.end() - start if heading and heading.end() - start <= maximum // 2 else 0
        pieces = _pieces(context, start + length, end, maximum - length, overlap=not length)
        for first, last in pieces:
            name = context[start : start + length]
            passages.append(Passage(name + context[first:last], name, first, start))
    return passages


def _blocks(text: str) -> Iterator[tuple[int, int]]:
    """Yields start and end of the pieces between empty lines, without surrounding white space."""
    start = 0
    for first, last in [*(match.span() for match in _BLOCK_END.finditer(text)), (len(text), len(text))]:
        block = text[start:first]
        if block.strip():
            yield start + len(block) - len(block.lstrip()), start + len(block.rstrip())
        start = last


def _pieces(text: str, start: int, end: int, maximum: int, *, overlap: bool) -> list[tuple[int, int]]:
    """Packs sentences into pieces of up to `maximum` characters, without surrounding white space."""
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
    """Yields start and end of sentences; long ones are cut at words."""
    ends = [match.span() for match in _SENTENCE_END.finditer(text, start, end)]
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
