"""Finds out which names are said with an article, by how the texts of a corpus say them: "a compiler", "an inode"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from muserve_server.tasks.answer.entries import Entry

__all__ = ["find_articles"]

_MOST_WORDS = 4
_SAID = re.compile(rf"\b([Aa]n?)((?: [\w/+#'-]+){{1,{_MOST_WORDS}}})")


def find_articles(entries: Sequence[Entry]) -> Mapping[str, str]:
    """Finds titles in small letters that texts say with "a" or "an".

    Args:
        entries: Whose titles, and whose texts.

    Returns:
        Title to article.
    """
    titles = {entry.title for entry in entries if entry.title[:1].islower()}
    said: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for found in _SAID.finditer(entry.text):
            words = found[2].split()
            # The longest name counts: "a data link layer" is no "data link".
            for length in range(len(words), 0, -1):
                if (name := " ".join(words[:length])) in titles:
                    said[name, found[1].lower()] += 1
                    break
    return {name: article for (name, article), _ in sorted(said.items(), key=lambda item: item[1])}
