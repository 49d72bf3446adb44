"""The entries of a corpus: each has names and a text."""

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
    """Its name; "" if it has none."""
    aliases: tuple[str, ...]
    """Other names."""
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
        """Prefix of its text: "LCS (Language for Communicating Systems): "; "" without a title."""
        if not self.title:
            return ""
        aliases = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.title}{aliases}: "

    @property
    def context(self) -> str:
        """Names and text, as the reader gets them: "LCS (Language for Communicating Systems): A concurrent SML …"."""
        return self.heading + self.text


def read_entries(path: Path) -> Iterator[Entry]:
    """Reads JSON Lines: each line has `title` and `text`, and optionally `aliases` and `domains`.

    Raises:
        ValueError: A line is not such an object; the text names the line.
        OSError: The file cannot be read.
    """
    for number, line in enumerate(path.read_text(encoding="utf-8").split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise ValueError(f"line {number}: is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise ValueError(f"line {number}: is {type(row).__name__}; each line must be an object")  # noqa: TRY004
        title, text = row.get("title"), row.get("text")
        if not isinstance(title, str) or not isinstance(text, str) or not text.strip():
            raise ValueError(f"line {number}: must have a title and a text, got {title!r} and {text!r}")
        lists = [row.get(name) or [] for name in ("aliases", "domains")]
        if not all(isinstance(values, list) and all(isinstance(each, str) for each in values) for values in lists):
            raise ValueError(f"line {number}: aliases and domains must be lists of texts, got {lists}")
        yield Entry(title, tuple(lists[0]), tuple(lists[1]), text)
