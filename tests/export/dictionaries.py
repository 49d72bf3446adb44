"""A small dictionary as dictd serves it, of words of our own."""

from __future__ import annotations

import gzip
from collections.abc import Mapping
from pathlib import Path

__all__ = ["PLAIN", "write_dictionary"]

_DIGITS = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/"

PLAIN = """Plain Engine for Letters
PEL

   <language, tool> (PEL) An early {language
   (http://example.org/pel.html)} for {letters}, /pel/, written by
   Ada B. Smith at {North College} in May 1983.  It runs
   on VAX <ada@example.org>.

    10 PRINT "X"
    20 GOTO 10

   See also: {QEL}.

   ["The PEL Book", A. Smith, 1984].

   {(http://example.org/)}.

   (1999-01-02)
"""


def _number(value: int) -> str:
    text = ""
    while value or not text:
        value, digit = divmod(value, 64)
        text = _DIGITS[digit] + text
    return text


def write_dictionary(folder: Path, texts: Mapping[str, str]) -> Path:
    """Writes a dictionary as dictfmt does."""
    folder.mkdir(parents=True, exist_ok=True)
    content, index = b"", []
    for word, text in texts.items():
        encoded = text.encode()
        if encoded not in content:  # several words may have one text
            content += encoded
        index.append(f"{word}\t{_number(content.index(encoded))}\t{_number(len(encoded))}\n")
    (folder / "foldoc.dict.dz").write_bytes(gzip.compress(content))
    (folder / "foldoc.index").write_text("".join(sorted(index)), encoding="utf-8")
    return folder
