"""Extracts facts from entries: questions whose answers are spans of the entry's text.

- what is: the first sentence, where it defines: it begins with an article and has one sense.
- stands for: a name that is the acronym of another, of the first phrase, or of what stands in parentheses behind it.
- who, when, where: "developed by NAME", "released in YEAR", "designed at PLACE", in sentences about the entry itself.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

from muserve_server.tasks.answer.entries import Entry

__all__ = ["KINDS", "Triple", "find_triples", "preposition_before", "sentences", "spells"]

KINDS = ("what", "stands for", "who", "when", "where")

_MIN_WORDS, _MAX_WORDS = 4, 40
_PHRASE_WORDS = 8
_SENTENCES_READ = 6

# What a full stop follows without the end of a sentence.
_ABBREVIATION = re.compile(
    r"(?:\b(?:e\.g|i\.e|etc|vs|cf|approx|Inc|Ltd|Corp|Co|Dr|Mr|Mrs|Ms|Prof|St|Jr|Sr|No|Vol|Fig|Dept|Univ|Inst|Lab|eds?|al|ca|c|"
    r"Jan|Feb|Mar|Apr|Jun|Jul|Aug|Sep|Sept|Oct|Nov|Dec|U\.S|U\.K|Ph\.D|a\.k\.a)|(?:^|[\s.(])[A-Z])\.$"
)
_SENTENCE_END = re.compile(r"(?<=[.!?])[\")]*\s+(?=[A-Z0-9\"(])")

_DEFINING = re.compile(r"(?:An?|The|One|Any|Either|Each|Another|Several|Two) ")
# A verb before the first relative clause, preposition or comma: a sentence of its own, no definition.
_WHOLE = re.compile(
    r"(?:(?!\b(?:which|that|who|whose|of|for|in|used|to|by|where|when|with)\b)[^,.])*"
    r"\b(?:is|are|was|were|has|have|can|may|must|consists|occurs)\b"
)
_STARTS_SENSE = re.compile(r"^\d+\. ", re.MULTILINE)

_VERBS = (
    "developed|written|designed|invented|created|introduced|proposed|released|published|founded|built|implemented|"
    "produced|coined|announced|launched|made|devised|discovered|defined|started|conceived|first released|"
    "originally developed|originally written|open-sourced|manufactured|marketed"
)
_MONTH = "(?:January|February|March|April|May|June|July|August|September|October|November|December)"
_YEAR = rf"(?:(?:\d{{1,2}} )?{_MONTH},? )?(?:1[6-9]|20)\d\d(?:'?s)?"
# Names: words with capitals, with initials, "and" and particles between them.
_NAME = (
    r"(?:[A-Z](?:[\w'&/+-]|\.(?=\w))*\.?)"
    r"(?:,? (?:and (?=[A-Z])|& |de |van |von |der |of (?=[A-Z])|the (?=[A-Z]))*"
    r"[A-Z](?:[\w'&/+-]|\.(?=\w))*(?:\.(?= [A-Z]))?)*"
)
_BY = re.compile(
    rf"\b(?P<verb>{_VERBS})(?: (?:and|&) \w+ed)? (?:(?:in|around|about) {_YEAR} )?by (?:the )?(?P<answer>{_NAME})"
)
_IN = re.compile(
    rf"\b(?P<verb>{_VERBS})(?: (?:by|at|for) (?:the )?{_NAME}(?: (?:at|of|for) (?:the )?{_NAME})?)?,? "
    rf"(?:in|around|about|on|in about|in around|in the|in late|in early) (?P<answer>{_YEAR})(?![\w-])"
)
_AT = re.compile(rf"\b(?P<verb>{_VERBS})(?: by (?:the )?{_NAME})?(?:,? in {_YEAR})? at (?:the )?(?P<answer>{_NAME})")
_FACTS = (("who", _BY), ("when", _IN), ("where", _AT))
# "processors manufactured by", "those proposed by", "based on X, written by": not the entry.
_ANOTHER = re.compile(
    r"(?:\b(?:those|one|ones|computers|processors|programs|machines|systems|products|books|materials|languages|drives|"
    r"modems|tools|chips)(?: (?:which|that))?(?: (?:was|were))? |"
    r"\b(?:based on|similar to|like|than|from|of the|called|named) (?:the )?[A-Z][\w+-]*,? )$"
)
# What goes on behind a name makes it part of another: "by Unix programmer Ann Lee", "by Microsoft's team".
_GOES_ON = re.compile(
    r"'s?\b|'(?=\s)| ?[$\d]| (?!(?:and|or|in|at|for|to|as|from|on|with|of|around|about|circa|ca|while|who|which|that|"
    r"during|after|before|by|is|was|were|but|et|using|based|under|the|a|an|now|later|then|early|late|meaning|where|when|"
    r"until|since|between|via|through|concerning|some|many|defining|known|following|primarily|because|specifically)\b)"
    r"[a-z]"
)
_PREPOSITIONS = {"who": "by", "when": "in", "where": "at"}
_BAD_LAST_WORDS = frozenset(
    ("The", "A", "An", "It", "In", "At", "By", "For", "From", "And", "Of", "On", "Its", "This", "That")
)


@dataclass(frozen=True)
class Triple:
    """A question's kind, the entry that it is about, and its answer's place in the entry's text."""

    entry: int
    """Index of the entry."""
    kind: str
    """One of KINDS."""
    subject: str
    """The name that the question says."""
    start: int
    """Where the answer begins in the entry's text; -1 if it is one of the entry's names."""
    answer: str
    """What it says."""
    verb: str = ""
    """What was done, for who, when and where: "developed"."""
    preposition: str = ""
    """What stands before the answer, for who, when and where: "by", "in", "at"."""


def sentences(text: str) -> list[tuple[int, str]]:
    """Cuts prose into sentences, each with where it begins."""
    found = []
    offset = 0
    for line in text.split("\n"):
        start = 0
        for end in _SENTENCE_END.finditer(line):
            head = line[start : end.end()].rstrip()
            if _ABBREVIATION.search(head):
                continue
            found.append((offset + start, head))
            start = end.end()
        if rest := line[start:].rstrip():
            found.append((offset + start, rest))
        offset += len(line) + 1
    return found


def find_triples(index: int, entry: Entry) -> Iterator[Triple]:
    """Yields what can be asked about one entry.

    Args:
        index: The entry's, for the triples.
        entry: To look through.
    """
    parts = sentences(entry.text)
    one_sense = not _STARTS_SENSE.search(entry.text)
    yield from _expansions(index, entry)
    if not one_sense:
        return
    is_person = "person" in entry.domains
    seen: set[tuple[str, str]] = set()
    if definition := _definition(parts):
        yield Triple(index, "what", entry.title, *definition)
    for number, (start, sentence) in enumerate([] if is_person else parts[:_SENTENCES_READ]):
        if number and not _is_about(sentence, entry):
            continue
        for kind, pattern in _FACTS:
            found = pattern.search(sentence)
            if found and (kind, found["verb"]) not in seen and (answer := _trim(found["answer"])):
                if _is_of_another(sentence, found, kind):
                    continue
                seen.add((kind, found["verb"]))
                place = start + found.start("answer")
                before = preposition_before(entry.text, place, kind)
                yield Triple(index, kind, entry.title, place, answer, _last(found["verb"]), before)


def preposition_before(text: str, start: int, kind: str) -> str:
    """Returns what leads to a place in a text, "by", "in the", "at the", or the usual word of a kind."""
    words = text[:start].lower().split()[-2:]
    article = " the" if words and words[-1] == "the" else ""
    words = [word for word in words if word not in {"the", "about", "around"}]
    return (words[-1] if words and words[-1] in {"by", "in", "at", "on", "from"} else _PREPOSITIONS[kind]) + article


def _definition(parts: list[tuple[int, str]]) -> tuple[int, str] | None:
    """The first sentence that defines; the second, where the first only spells an acronym out."""
    if len(parts) > 1 and len(parts[0][1].split()) <= _PHRASE_WORDS and not _DEFINING.match(parts[0][1]):
        parts = parts[1:]
    start, sentence = parts[0]
    if not _DEFINING.match(sentence) or not sentence.endswith(".") or _ABBREVIATION.search(sentence):
        return None  # it does not define, or was cut by an abbreviation or a list
    if _WHOLE.match(sentence):
        return None  # "The bottoms of the domains are …" says something else
    return (start, sentence) if _MIN_WORDS <= len(sentence.split()) <= _MAX_WORDS else None


def _expansions(index: int, entry: Entry) -> Iterator[Triple]:
    seen = set()
    for short in entry.names:
        if not _is_acronym(short):
            continue
        for long in entry.names:
            if long != short and spells(short, long) and short not in seen:
                seen.add(short)
                yield Triple(index, "stands for", short, -1, long)
    first = entry.text.split("\n")[0]
    phrase = re.match(r"([A-Z][^.:;,()]{3,80})(?:[.;]|$)", first)
    if phrase and _is_acronym(entry.title) and entry.title not in seen and spells(entry.title, phrase[1]):
        yield Triple(index, "stands for", entry.title, 0, phrase[1])


def _is_acronym(name: str) -> bool:
    return " " not in name and 2 <= len(name) <= 10 and sum(character.isupper() for character in name) >= 2


def spells(short: str, long: str) -> bool:
    """Whether a phrase's words begin with an acronym's letters, small words may be passed over."""
    letters = [character.lower() for character in short if character.isalnum()]
    words = re.findall(r"[A-Za-z0-9]+", long)
    if len(words) < 2:
        return False
    position = 0
    for word in words:
        if position < len(letters) and word[0].lower() == letters[position]:
            position += 1
            # Several letters may come from one word: "eXtensible".
            for character in word[1:]:
                if position < len(letters) and character.isupper() and character.lower() == letters[position]:
                    position += 1
        elif word.lower() not in {"of", "the", "for", "and", "to", "in", "on", "a", "an", "with", "by", "from", "or"}:
            return False
    return position == len(letters)


def _is_about(sentence: str, entry: Entry) -> bool:
    start = sentence.lower()
    return start.startswith("it ") or any(re.match(rf"{re.escape(name.lower())}\b", start) for name in entry.names)


def _is_of_another(sentence: str, found: re.Match[str], kind: str) -> bool:
    """Whether a fact is about another thing that the sentence names, or its name is only the beginning of a longer."""
    before, after = sentence[: found.start()], sentence[found.end("answer") :]
    if before.count("(") > before.count(")") or _ANOTHER.search(before):
        return True
    return kind != "when" and bool(_GOES_ON.match(after))


def _trim(answer: str) -> str:
    words = answer.rstrip(",").removesuffix("'s").split()
    while words and words[-1].strip(",") in _BAD_LAST_WORDS:
        words.pop()
    answer = " ".join(words).rstrip(",")
    return answer if re.search(r"\b(?:Inc|Ltd|Corp|Co|Jr|U\.S|U\.K)\.$", answer) else answer.rstrip(".")


def _last(verb: str) -> str:
    return verb.rsplit(" ", 1)[-1]
