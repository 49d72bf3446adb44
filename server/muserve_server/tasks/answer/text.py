"""From texts to tokens that know where they stand, and from copied and written tokens back to a sentence.

Tokens are small letters, so that "python" finds "Python"; what is copied comes out as it stands in the text, whatever
its script. White space is no token: each token knows whether some stands before it.
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
"""Place of a token that was not copied."""

CONTINUES = "##"
"""What begins a piece that goes on with a word."""

_CLOSING = frozenset(".,;:!?)]}'\"%…")
_OPENING = frozenset("([{-/")
_ENDS = frozenset(".:;!?)")
_BEGUN_TWICE = re.compile(r"^(?:(?:an?|the) )?(?P<x>.{1,80}?) is (?P<begun>(?:(?:an?|the) )?(?P=x) is )", re.IGNORECASE)
"""A definition that a text gives in a whole sentence of its own: "Python is Python is a language"."""
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
    """A text in tokens."""

    text: str
    """The text."""
    ids: tuple[int, ...]
    """Of the vocabulary."""
    places: tuple[tuple[int, int], ...]
    """First character of each token, and one after its last."""
    spaced: tuple[bool, ...]
    """Whether white space, or the beginning of the text, stands before each token."""

    def __len__(self) -> int:
        return len(self.ids)

    def cut(self, maximum: int) -> Tokens:
        """Keeps the first tokens."""
        return Tokens(self.text, self.ids[:maximum], self.places[:maximum], self.spaced[:maximum])

    def covering(self, start: int, end: int) -> tuple[int, int] | None:
        """Returns the first token of a piece of the text and one after its last; None if no token is in it."""
        inside = [index for index, (first, last) in enumerate(self.places) if first < end and last > start]
        return (inside[0], inside[-1] + 1) if inside else None


@dataclass(frozen=True)
class Written:
    """A token of an answer."""

    id: int
    """Of the vocabulary."""
    source: int = NOTHING
    """Which of the sources it was copied from."""
    place: int = NOTHING
    """Which token of that source."""


def _end_of_word(text: str, end: int, maximum: int) -> int:
    """Goes on to the next white space, or to where the next token begins."""
    while end < maximum and not text[end].isspace():
        end += 1
    return end


class TextCodec:
    """Turns texts into tokens, and tokens into texts."""

    def __init__(self, tokenizer: str) -> None:
        """Reads a tokenizer.

        Args:
            tokenizer: JSON of the library `tokenizers`; its first tokens are SPECIAL.

        Raises:
            ValueError: It is no such JSON, or begins with other tokens.
        """
        try:
            self._tokenizer = Tokenizer.from_str(tokenizer)
        except Exception as error:  # the library raises plain ones
            raise ValueError(f"the tokenizer cannot be read: {error}") from error
        self._tokenizer.encode_special_tokens = True  # who types "[PAD]" means these five characters
        found = tuple(self._tokenizer.id_to_token(index) for index in range(len(SPECIAL)))
        if found != SPECIAL:
            raise ValueError(f"the tokenizer's first tokens are {found}; they must be {SPECIAL}")

    @property
    def size(self) -> int:
        """Number of tokens in the vocabulary."""
        return int(self._tokenizer.get_vocab_size())

    def encode(self, text: str) -> Tokens:
        """Splits a text into tokens; what is unknown is a token too."""
        encoded = self._tokenizer.encode(text, add_special_tokens=False)
        ids: list[int] = []
        places: list[tuple[int, int]] = []
        spaced: list[bool] = []
        for token, (start, end) in zip(encoded.ids, encoded.offsets, strict=True):
            # Some characters are several in the vocabulary's spelling, as "½": they are copied once.
            start = max(start, places[-1][1] if places else 0)
            if start >= end:
                continue
            ids.append(token)
            places.append((start, end))
            spaced.append(start == 0 or text[start - 1].isspace())
        # Others are one with those before, as an accent of its own is with its letter: they are copied with them.
        nexts = [*(start for start, _ in places[1:]), len(text)][: len(places)]
        wide = [
            (start, _end_of_word(text, end, following)) for (start, end), following in zip(places, nexts, strict=True)
        ]
        return Tokens(text, tuple(ids), tuple(wide), tuple(spaced))

    def say(self, written: Iterable[Written], sources: Sequence[Tokens]) -> str:
        """Joins an answer's tokens: copied ones as they stand in their source, with its white space between them."""
        message = ""
        before: Written | None = None
        for token in written:
            if token.id in (PADDING, BEGIN, END):
                continue
            follows = before is not None and (before.source, before.place) == (token.source, token.place - 1)
            piece, is_apart = self._piece(token, sources, follows=token.source != NOTHING and follows)
            if message and is_apart and (follows or message[-1] not in _OPENING):
                message += " "
            if message and before is not None and before.source == NOTHING and self._loses_its_capital(token, sources):
                piece = piece.lower()
            message += piece
            before = token
        message = _BEGUN_TWICE.sub(r"\g<begun>", message)
        first = message.split(" ", 1)[0]
        capital = message[:1].title()
        # A name may have a spelling of its own: "iOS", "gRPC". And some letters have no capital of their own: "ß".
        return capital + message[1:] if first.isalpha() and first.islower() and len(capital) == 1 else message

    def _loses_its_capital(self, token: Written, sources: Sequence[Tokens]) -> bool:
        """Whether a sentence that is gone on with here begins with a small word: "is" + "A tool"."""
        if token.source == NOTHING:
            return False
        text, (start, end) = sources[token.source].text, sources[token.source].places[token.place]
        begins = not text[:start].strip() or text[:start].rstrip()[-1] in _ENDS
        word, goes_on = text[start:end].lower(), text[end : end + 1].isspace()
        # "A DoD standard" is one of articles even before a capital; "In Touch" is a name.
        is_small = word in _ARTICLES or (word in _SMALL and text[end:].lstrip()[:1].islower())
        return begins and goes_on and is_small

    def _piece(self, token: Written, sources: Sequence[Tokens], *, follows: bool) -> tuple[str, bool]:
        """Returns what a token says, and whether white space stands before it."""
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
