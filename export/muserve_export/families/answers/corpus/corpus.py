"""Reads a corpus: a folder of entries, or one file of questions and answers.

A folder holds entries: *.jsonl with `title` and `text` in each line (`aliases` and `domains` if there are), and *.toml
as `glossary` reads them. `triples` extracts the facts that can be asked about.

A file holds questions with their answers:

- CSV with the columns `question`, `answer` and, if there are, `context`;
- JSON Lines with the same names;
- JSON in the form of SQuAD (Rajpurkar et al., 2016 and 2018): contexts with questions whose answers are spans of them.

A pair without a context is an entry of its own: the question is its title, the answer its text.
"""

from __future__ import annotations

import csv
import hashlib
import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from muserve_export.errors import DataError
from muserve_export.families.answers.corpus.articles import find_articles
from muserve_export.families.answers.corpus.glossary import read_glossary
from muserve_export.families.answers.corpus.triples import Triple, find_triples
from muserve_server.tasks.answer.entries import Entry, read_entries

__all__ = ["ABOUT", "DEFAULT", "LICENCE_ENDING", "Corpus", "CorpusFile", "Pair", "read_corpus"]

DEFAULT = Path("data/answers")
LICENCE_ENDING = ".licence.txt"
"""Ending of the licence file that accompanies a corpus file into a bundle."""
ABOUT = "about.json"
"""File with the origin and the licence of each corpus file."""
_FORMS = "a folder with *.jsonl or *.toml, or a .csv, .jsonl or .json file"


@dataclass(frozen=True)
class Pair:
    """A question with its answer, as the user's file states them."""

    question: str
    """The question."""
    answer: str
    """The answer; "" if the context does not have it."""
    entry: int
    """Index of the entry that has the answer."""
    start: int = -1
    """Character offset of the answer in the entry's text; -1 if it does not occur verbatim."""


@dataclass(frozen=True)
class CorpusFile:
    """One file of a corpus."""

    name: str
    """Its name without suffix."""
    entries: int
    """Number of entries in it. The corpus has them in a row."""
    origin: str
    """Where it comes from."""
    licence: str
    """Licence of its entries."""


@dataclass(frozen=True)
class Corpus:
    """Entries, and the questions that they answer."""

    path: Path
    """Folder or file that it was read from."""
    entries: Sequence[Entry]
    """All entries."""
    triples: Sequence[Triple]
    """Facts that questions can be generated about."""
    pairs: Sequence[Pair]
    """The user's own questions with answers."""
    sha256: str
    """Digest of the files."""
    files: Sequence[CorpusFile] = ()
    """Files of the entries, in their order."""
    articles: Mapping[str, str] = field(default_factory=dict)
    """The indefinite article of each title that takes one."""


def read_corpus(path: Path = DEFAULT) -> Corpus:
    """Reads a folder of entries, or a file of questions and answers.

    Raises:
        DataError: It is missing or malformed; the message names the file and the line.
    """
    if path.is_dir():
        return _read_folder(path)
    if not path.is_file():
        hint = "; create it with: muserve-export data answers" if path == DEFAULT else ""
        raise DataError(f"data is {str(path)!r}, which does not exist{hint}; it must be {_FORMS}")
    reader = {".csv": _csv_rows, ".jsonl": _json_rows, ".json": _squad_rows}.get(path.suffix.lower())
    if reader is None:
        raise DataError(f"data is {str(path)!r}, of type {path.suffix!r}; it must be {_FORMS}")
    content = path.read_bytes()
    try:
        rows = list(reader(content.decode("utf-8-sig")))
    except UnicodeDecodeError as error:
        raise DataError(f"{path}: is not UTF-8 ({error}); save it as UTF-8") from error
    except DataError as error:
        raise DataError(f"{path}: {error}") from error
    entries, pairs = _pair_up(rows)
    if not pairs:
        raise DataError(
            f"{path}: has no question with an answer; give a column each: question, answer and, if need be, context"
        )
    file = _own_file(path, len(entries))
    return Corpus(path, entries, (), pairs, hashlib.sha256(content).hexdigest(), (file,))


def _read_folder(folder: Path) -> Corpus:
    entries: list[Entry] = []
    triples: list[Triple] = []
    files: list[CorpusFile] = []
    about = _read_about(folder)
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.jsonl"), *folder.glob("*.toml")]):
        if path.stem in {file.name for file in files}:
            raise DataError(f"{path}: two files have the name {path.stem!r} without their endings; rename one")
        digest.update(f"\0{path.name}\0".encode() + hashlib.sha256(path.read_bytes()).digest())
        first = len(entries)
        if path.suffix == ".toml":
            own, known = read_glossary(path)
            triples += [_shifted(triple, first) for triple in known]
        else:
            own = list(_read_entries(path))
            triples += [triple for index, entry in enumerate(own, first) for triple in find_triples(index, entry)]
        entries += own
        origin, licence = about.get(path.name, ("", ""))
        file = _own_file(path, len(own))
        files.append(replace(file, origin=origin or file.origin, licence=licence or file.licence))
    if not entries:
        raise DataError(f"{folder} has no entries; it must be {_FORMS}")
    return Corpus(folder, entries, triples, (), digest.hexdigest(), files, find_articles(entries))


def _own_file(path: Path, entries: int) -> CorpusFile:
    return CorpusFile(path.stem, entries, f"the user's file {path.name}", "as the user has it")


def _read_about(folder: Path) -> Mapping[str, tuple[str, str]]:
    """Reads origin and licence by file, if the folder states them."""
    path = folder / ABOUT
    if not path.exists():
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        return {str(name): (str(own["origin"]), str(own["licence"])) for name, own in content.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path}: cannot be read ({error!r}); make the data again, or remove it") from error


def _shifted(triple: Triple, by: int) -> Triple:
    return replace(triple, entry=triple.entry + by)


def _read_entries(path: Path) -> Iterator[Entry]:
    try:
        for entry in read_entries(path):
            if not entry.title.strip():
                raise DataError(f"the entry {entry.text[:40]!r} has no title; give one")
            yield entry
    except (OSError, ValueError, DataError) as error:
        raise DataError(f"{path}: {error}") from error


def _json_lines(text: str) -> Iterator[tuple[int, Mapping[str, Any]]]:
    for number, line in enumerate(text.split("\n"), start=1):
        if not line.strip():
            continue
        try:
            row = json.loads(line)
        except ValueError as error:
            raise DataError(f"line {number}: is not JSON ({error})") from error
        if not isinstance(row, dict):
            raise DataError(f"line {number}: is {type(row).__name__}; each line must be an object")
        yield number, row


@dataclass(frozen=True)
class _Row:
    question: str
    answer: str
    context: str | None
    start: int = -1


def _csv_rows(text: str) -> Iterator[_Row]:
    reader = csv.DictReader(io.StringIO(text, newline=""))
    columns = [name.strip().lower() for name in reader.fieldnames or ()]
    if not {"question", "answer"} <= set(columns):
        raise DataError(f"has the columns {columns}; it must have question and answer, and may have context")
    reader.fieldnames = columns
    try:
        for row in reader:
            yield _row(reader.line_num, row)
    except csv.Error as error:
        raise DataError(f"behind line {reader.line_num}: is no CSV ({error})") from error


def _json_rows(text: str) -> Iterator[_Row]:
    for number, row in _json_lines(text):
        yield _row(number, row)


def _row(number: int, row: Mapping[str, Any]) -> _Row:
    question, answer, context = row.get("question"), row.get("answer"), row.get("context")
    if isinstance(context, str) and not context.strip():
        context = None
    for name, value in (("question", question), ("answer", answer)):
        if not isinstance(value, str) or not value.strip():
            raise DataError(f"line {number}: {name} is {value!r}; it must be a text")
    if context is not None and not isinstance(context, str):
        raise DataError(f"line {number}: context is {context!r}; it must be a text or left out")
    return _Row(str(question).strip(), str(answer).strip(), context)


def _squad_rows(text: str) -> Iterator[_Row]:
    try:
        articles = json.loads(text)["data"]
        for article in articles:
            for paragraph in article["paragraphs"]:
                context = paragraph["context"]
                if not context.strip():
                    raise DataError("a paragraph has an empty context")
                for item in paragraph["qas"]:
                    # SQuAD 2.0 has questions that the context does not answer; the first of several answers counts.
                    given: Any = item["answers"][0] if item.get("answers") else {"text": "", "answer_start": -1}
                    start, answer = int(given["answer_start"]), given["text"]
                    if answer and context[start : start + len(answer)] != answer:
                        raise DataError(f"question {item.get('id')!r}: {answer!r} does not stand at {start}")
                    yield _Row(item["question"].strip(), answer, context, start)
    except (ValueError, KeyError, TypeError, IndexError) as error:
        raise DataError(f"is not in the form of SQuAD ({error!r}): data, paragraphs, context, qas, answers") from error


def _find_words(answer: str, text: str) -> int:
    """Returns the offset of an answer in a text, as whole words; -1 if it does not occur."""
    found = re.search(rf"(?<!\w){re.escape(answer)}(?!\w)", text) if answer else None
    return found.start() if found else -1


def _pair_up(rows: Sequence[_Row]) -> tuple[list[Entry], list[Pair]]:
    """Makes an entry of each context, and of each answer without a context."""
    entries: list[Entry] = []
    places: dict[tuple[str, str], int] = {}
    pairs = []
    for row in rows:
        title, text = ("", row.context) if row.context is not None else (row.question, row.answer)
        if (title, text) not in places:
            places[title, text] = len(entries)
            entries.append(Entry(title, (), (), text))
        start = row.start if row.start >= 0 else _find_words(row.answer, text)
        pairs.append(Pair(row.question, row.answer, places[title, text], start))
    return entries, pairs
