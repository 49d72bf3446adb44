"""Encodes texts to tokens with their character offsets, and decodes copied and generated tokens to a sentence.

Tokens are lower case, so that "python" finds "Python"; a copied token is decoded to the characters of its source,
whatever their script. White space is not a token: each token knows whether it follows white space.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from tokenizers import Tokenizer

__all__ = ["BEGIN", "CONTINUES", "END", "NOTHING", "PADDING", "SPECIAL", "UNKNOWN", "TextCodec", "Tokens", "Written"]

SPECIAL = ("[PAD]", "[UNK]", "[BOS]", "[EOS]")
PADDING, UNKNOWN, BEGIN, END = range(len(SPECIAL))
NOTHING = -1
"""Source index of a token that was not copied."""

CONTINUES = "##"
"""Prefix of a token that continues a word."""

_CLOSING = frozenset(".,;:!?)]}'\"%…")
_OPENING = frozenset("([{-/")
_ENDS = frozenset(".:;!?)")
_BEGUN_TWICE = re.compile(r"^(?:(?:an?|the) )?(?P<x>.{1,80}?) is (?P<begun>(?:(?:an?|the) )?(?P=x) is )", re.IGNORECASE)
"""An answer that repeats its subject: "Python is Python is a language"."""
_ARTICLES = frozenset(("a", "an", "the"))
# Copied from the beginning of a sentence into the middle of another, these lose their capital.
_SMALL = frozenset(
    (
        "a", "an", "the", "one", "any", "each", "every", "either", "another", "some", "several", "two", "three", "this",
        "that", "these", "those", "it", "its", "in", "on", "at", "of", "for", "from", "to", "by", "with", "and", "or",
        "when", "where", "which", "used",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Tokens:
    """A tokenized text."""

    text: str
    """The text."""
    ids: tuple[int, ...]
    """Index in the vocabulary."""
    places: tuple[tuple[int, int], ...]
    """Character offsets of each token: start and end."""
    spaced: tuple[bool, ...]
    """Whether each token follows white space or begins the text."""

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, maximum: int) -> Tokens:
        """Truncates to a number of tokens."""
        return Tokens(self.text, self.ids[:maximum], self.places[:maximum], self.spaced[:maximum])

    def covering(self, start: int, end: int) -> tuple[int, int] | None:
        """Returns the range of tokens that overlap a range of characters; None if there are none."""
        inside = [index for index, (first, last) in enumerate(self.places) if first < end and last > start]
        return (inside[0], inside[-1] + 1) if inside else None


@dataclass(frozen=True)
class Written:
    """A generated or copied token."""

    id: int
    """Index in the vocabulary."""
    source: int = NOTHING
    """Index of the source that it was copied from; NOTHING if it was generated."""
    place: int = NOTHING
    """Index of the token in that source."""


def _end_of_word(text: str, end: int, maximum: int) -> int:
    """Extends a token to the next white space or the start of the next token."""
    while end < maximum and not text[end].isspace():
        end += 1
    return end


class TextCodec:
    """Encodes texts to tokens and decodes tokens to texts."""

    def __init__(self, tokenizer: str) -> None:
        """Loads a tokenizer.

        Args:
            tokenizer: JSON of the library `tokenizers`; its first tokens must be SPECIAL.

        Raises:
            ValueError: The JSON is not a tokenizer, or its first tokens are others.
        """
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer)
        except Exception as error:  # the library raises plain ones
            raise ValueError(f"the tokenizer cannot be read: {error}") from error
        self._tokenizer.encode_special_tokens = True  # who types "[PAD]" means these five characters
        first_tokens = tuple(self._tokenizer.id_to_token(index) for index in range(len(SPECIAL)))
        if first_tokens != SPECIAL:
            raise ValueError(f"the tokenizer's first tokens are {first_tokens}; they must be {SPECIAL}")

    @property
    def size(self) -> int:
        """Number of tokens in the vocabulary."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> Tokens:
        """Tokenizes a text; unknown words become [UNK]."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        spaced: list[bool] = []
        for token, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            # A character such as "½" becomes several tokens after normalization: only the first of them is copied.
            start = max(start, places[-1][1] if places else 0)
            if start >= end:
                continue
            ids.append(token)
            places.append((start, end))
            spaced.append(start == 0 or text[start - 1].isspace())
        # A combining accent belongs to the letter before it: they are copied together.
        nexts = [*(start for start, _ in places[1:]), len(text)][: len(places)]
        wide = [
            (start, _end_of_word(text, end, following)) for (start, end), following in zip(places, nexts, strict=True)
        ]
        return Tokens(text, tuple(ids), tuple(wide), tuple(spaced))

    def decode(self, written: Iterable[Written], sources: Sequence[Tokens]) -> str:
        """Joins tokens to a text: copied ones with the characters and white space of their source."""
        text = ""
        before: Written | None = None
        for token in written:
            if token.id in (PADDING, BEGIN, END):
                continue
            follows = before is not None and (before.source, before.place) == (token.source, token.place - 1)
            piece, is_apart = self._piece(token, sources, follows=token.source != NOTHING and follows)
            if text and is_apart and (follows or text[-1] not in _OPENING):
                text += " "
            if text and before is not None and before.source == NOTHING and self._loses_its_capital(token, sources):
                piece = piece.lower()
            text += piece
            before = token
        text = _BEGUN_TWICE.sub(r"\g<begun>", text)
        first = text.split(" ", 1)[0]
        capital = text[:1].title()
        # Names keep their spelling ("iOS", "gRPC"), and some letters have no single capital ("ß").
        return capital + text[1:] if first.isalpha() and first.islower() and len(capital) == 1 else text

    def _loses_its_capital(self, token: Written, sources: Sequence[Tokens]) -> bool:
        """Whether a copied sentence start loses its capital, because it now continues a sentence: "is" + "A tool"."""
        if token.source == NOTHING:
            return False
        text, (start, end) = sources[token.source].text, sources[token.source].places[token.place]
        begins = not text[:start].strip() or text[:start].rstrip()[-1] in _ENDS
        word, goes_on = text[start:end].lower(), text[end : end + 1].isspace()
        # An article loses its capital even before a capital ("A DoD standard"); "In Touch" is a name.
        is_small = word in _ARTICLES or (word in _SMALL and text[end:].lstrip()[:1].islower())
        return begins and goes_on and is_small

    def _piece(self, token: Written, sources: Sequence[Tokens], *, follows: bool) -> tuple[str, bool]:
        """Returns the characters of a token, and whether white space precedes it."""
        if token.source == NOTHING:
            text = self._tokenizer.id_to_token(token.id) or ""
            piece = text.removeprefix(CONTINUES)
            return piece, piece == text and piece[:1] not in _CLOSING
        source = sources[token.source]
        start, end = source.places[token.place]
        piece = source.text[start:end]
        if follows:
            return piece, source.spaced[token.place]
        is_inside_a_word = start > 0 and source.text[start - 1].isalnum() and piece[:1].isalnum()
        return piece, not is_inside_a_word and piece[:1] not in _CLOSING
