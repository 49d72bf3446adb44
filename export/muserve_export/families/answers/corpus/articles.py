"""Learns from the texts of a corpus which names take an indefinite article: "a compiler", "an inode"."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

from muserve_server.tasks.answer.entries import Entry

__all__ = ["find_articles"]

_MAX_WORDS = 4
_WITH_ARTICLE = re.compile(rf"\b([Aa]n?)((?: [\w/+#'-]+){{1,{_MAX_WORDS}}})")


def find_articles(entries: Sequence[Entry]) -> Mapping[str, str]:
    """Finds lower-case titles that the texts use with "a" or "an".

    Args:
        entries: Their titles and texts.

    Returns:
        Title to article.
    """
    titles = {entry.title for entry in entries if entry.title[:1].islower()}
    counts: Counter[tuple[str, str]] = Counter()
    for entry in entries:
        for match in _WITH_ARTICLE.finditer(entry.text):
            words = match[2].split()
            # The longest name counts: "a data link layer" is no "data link".
            for length in range(len(words), 0, -1):
                if (name := " ".join(words[:length])) in titles:
                    counts[name, match[1].lower()] += 1
                    break
    return {name: article for (name, article), _ in sorted(counts.items(), key=lambda item: item[1])}
