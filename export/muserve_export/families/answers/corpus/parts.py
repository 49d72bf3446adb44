"""Splits entries into training, validation and test parts, by a hash."""

from __future__ import annotations

import hashlib

from muserve_server.tasks.answer.entries import Entry

__all__ = ["PARTS", "part_of", "part_of_entry"]

PARTS = ("train", "validation", "test")


def part_of_entry(entry: Entry, *, is_paired: bool) -> str:
    """Returns an entry's part: by its title, or in a corpus of pairs by its text, so that one answer has one part."""
    return part_of(entry.text if is_paired or not entry.title else entry.title)


def part_of(title: str) -> str:
    """Returns the part that an entry belongs to, by its title alone: 5 % validation, 10 % test, the rest train."""
    share = int.from_bytes(hashlib.sha256(title.casefold().encode()).digest()[:8], "big") % 20
    return {0: "validation", 1: "test", 2: "test"}.get(share, "train")
