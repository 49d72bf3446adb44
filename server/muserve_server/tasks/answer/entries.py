"""What a corpus is made of: entries, each with its names and a text."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Entry", "read_entries"]


@dataclass(frozen=True)
class Entry:
    """One entry of a dictionary or glossary."""

    title: str
    """Its name; "" where a text stands alone."""
    aliases: tuple[str, ...]
    """What else it is called."""
    domains: tuple[str, ...]
    """The fields that it belongs to; may be empty."""
    text: str
    """Its prose; paragraphs are lines."""

    @property
    def names(self) -> tuple[str, ...]:
        """Title and aliases."""
        return (self.title, *self.aliases)

    @property
    def heading(self) -> str:
        """What stands before its text: "LCS (Language for Communicating Systems): "; "" without a title."""
        if not self.title:
            return ""
        aliases = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.title}{aliases}: "

    @property
    def context(self) -> str:
        """What is read: names and text, "LCS (Language for Communicating Systems): A concurrent SML …"."""
        return self.heading + self.text


def read_entries(path: Path) -> Iterator[Entry]:
    """Reads JSON Lines: in each `title` and `text`, and `aliases` and `domains` if there are.

    Raises:
        ValueError: A line is something else; says which.
        OSError: The file cannot be read.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: is no JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number}: is {type(row).__name__}; each line must be an object")  # noqa: TRY004
        title, text = row.get("title"), row.get("text")
        if not isinstance(title, str) or not isinstance(text, str) or not text.strip():
            raise ValueError(f"line {number}: must have a title and a text, got {title!r} and {text!r}")
        lists = [row.get(name) or [] for name in ("aliases", "domains")]
        if not all(isinstance(own, list) and all(isinstance(each, str) for each in own) for own in lists):
            raise ValueError(f"line {number}: aliases and domains must be lists of texts, got {lists}")
        yield Entry(title, tuple(lists[0]), tuple(lists[1]), text)
