"""What a corpus is made of: entries, each with its names and a text."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

__all__ = ["PARTS", "Entry", "part_of"]

PARTS = ("train", "validation", "test")


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
    def context(self) -> str:
        """What is read: names and text, "LCS (Language for Communicating Systems): A concurrent SML …"."""
        if not self.title:
            return self.text
        aliases = f" ({', '.join(self.aliases)})" if self.aliases else ""
        return f"{self.title}{aliases}: {self.text}"


def part_of(title: str) -> str:
    """Returns the part that an entry belongs to, by its title alone: 5 % validation, 10 % test, the rest train."""
    share = int.from_bytes(hashlib.sha256(title.casefold().encode()).digest()[:8], "big") % 20
    return {0: "validation", 1: "test", 2: "test"}.get(share, "train")
