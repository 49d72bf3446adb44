"""What answers are learnt from: a dictionary in dictd's form, a glossary, and what can be asked about their entries."""

from __future__ import annotations

import json
import re
from collections import Counter
from pathlib import Path

import pytest

from muserve_export.errors import DataError
from muserve_export.families.answers.corpus.foldoc import read_foldoc
from muserve_export.families.answers.corpus.glossary import read_glossary
from muserve_export.families.answers.corpus.parts import PARTS, part_of
from muserve_export.families.answers.corpus.triples import KINDS, Triple, find_triples, sentences
from muserve_export.families.answers.examples.wordings import BEFORE, FRAMES, WORDINGS, answer_sentence, ask
from muserve_server.tasks.answer.entries import Entry
from tests.export.dictionaries import PLAIN, write_dictionary

FOLDER = Path("export/muserve_export/families/answers/measure")


def found(entry: Entry) -> dict[str, Triple]:
    return {triple.kind: triple for triple in find_triples(0, entry)}


def test_of_a_dictionary_the_prose_is_kept(tmp_path: Path) -> None:
    write_dictionary(tmp_path / "usr/share/dictd", {"plain engine for letters": PLAIN, "pel": PLAIN})
    (entry,) = read_foldoc(tmp_path)
    assert (entry.title, entry.aliases, entry.domains) == ("Plain Engine for Letters", ("PEL",), ("language", "tool"))
    assert entry.text == (
        "An early language for letters, written by Ada B. Smith at North College in May 1983. It runs on VAX."
    )
    assert entry.context == f"Plain Engine for Letters (PEL): {entry.text}"


@pytest.mark.parametrize(
    "text",
    [
        "apt\n\n   <Debian> A tool for packages.\n",
        "orphan\n\n       <software> A package that nobody maintains.\n",  # indented as Debian's own are
        "About\n\n   <introduction> This is a dictionary of words.\n",
        "empty\n\n   {other word}.\n\n   (1999-01-02)\n" .replace("{other word}", "{(http://example.org/)}"),
    ],
)  # fmt: skip
def test_what_is_not_the_dictionarys_is_left_out(tmp_path: Path, text: str) -> None:
    write_dictionary(tmp_path, {"pel": PLAIN, "other": text})
    assert [entry.title for entry in read_foldoc(tmp_path)] == ["Plain Engine for Letters"]


def test_numbered_senses_stay(tmp_path: Path) -> None:
    write_dictionary(tmp_path, {"pc": "PC\n\n   1. <hardware> A small computer.\n\n   2. <language> A byte counter.\n"})
    entry = read_foldoc(tmp_path)[0]
    assert (entry.domains, entry.text) == (("hardware", "language"), "1. A small computer.\n2. A byte counter.")
    assert list(find_triples(0, entry)) == []


def test_a_damaged_dictionary_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"has no foldoc\.index; pass the folder or the package that has it: --source"):
        read_foldoc(tmp_path)
    write_dictionary(tmp_path, {"pel": PLAIN})
    (tmp_path / "foldoc.dict.dz").write_bytes(b"no gzip")
    with pytest.raises(DataError, match=r"cannot be read .* fetch dict-foldoc again"):
        read_foldoc(tmp_path)
    write_dictionary(tmp_path, {"pel": PLAIN})
    (tmp_path / "foldoc.index").write_text("pel\t!\tA\n", encoding="utf-8")
    with pytest.raises(DataError, match="cannot be read"):
        read_foldoc(tmp_path)


def test_every_kind_of_question_is_found() -> None:
    text = "An early language for letters, written by Ada B. Smith at North College in May 1983. It runs on VAX."
    triples = found(Entry("Plain Engine for Letters", ("PEL",), (), text))
    assert set(triples) == set(KINDS)
    assert {kind: triple.answer for kind, triple in triples.items()} == {
        "what": text[: text.index(" It runs")],
        "stands for": "Plain Engine for Letters",
        "who": "Ada B. Smith",
        "when": "May 1983",
        "where": "North College",
    }
    for triple in triples.values():
        assert triple.start == -1 or text[triple.start :].startswith(triple.answer)
    assert answer_sentence(triples["what"]).startswith("Plain Engine for Letters is an early language for letters")
    assert answer_sentence(triples["stands for"]) == "PEL stands for Plain Engine for Letters."
    assert answer_sentence(triples["who"]) == "Plain Engine for Letters was written by Ada B. Smith."
    assert answer_sentence(triples["when"]) == "Plain Engine for Letters was written in May 1983."
    assert answer_sentence(triples["where"]) == "Plain Engine for Letters was written at North College."


@pytest.mark.parametrize(
    ("entry", "kind"),
    [
        (Entry("ada smith", (), ("person",), "A woman who wrote PEL. It was written by Ada Smith in 1983."), "who"),
        (Entry("PEL", ("Queer Engine",), (), "A tool."), "stands for"),
        (Entry("PEL", (), (), "A tool of two."), "when"),
        (Entry("QEL", (), (), "A tool. PEL was written by Ada Smith."), "who"),
        (Entry("PEL", (), (), "A tool that cuts text, e.g."), "stands for"),
        (Entry("PEL", (), (), "Cuts text into pieces of one length."), "what"),
        (
            Entry("sum", (), (), "In theory, the sum of two domains has all their parts. The parts join at one end."),
            "what",
        ),
    ],
)
def test_what_an_entry_does_not_say_is_not_asked(entry: Entry, kind: str) -> None:
    assert kind not in found(entry)


def test_sentences_do_not_end_at_abbreviations() -> None:
    text = 'It was made by J. R. Smith et al. Later, e.g. in the U.S. Army, it ran. "Why?" Nobody knew.\nNext line'
    parts = sentences(text)
    assert [part for _, part in parts][-2:] == ["Nobody knew.", "Next line"]
    assert parts[0][1].startswith("It was made by J. R. Smith et al.")
    assert all(text[start:].startswith(part) for start, part in parts)


def test_the_bundled_glossary_answers_what_was_promised() -> None:
    entries, triples = read_glossary()
    assert len(entries) >= 100
    assert {triple.kind for triple in triples} == set(KINDS)
    answers = {triple.subject: answer_sentence(triple) for triple in triples if triple.kind == "what"}
    assert answers["Python"] == "Python is a high-level programming language."
    assert answers["deep learning"] == (
        "Deep learning is a machine learning technique based on artificial neural networks."
    )
    for triple in triples:
        assert entries[triple.entry].text[triple.start :].startswith(triple.answer)
    # Its sentences are whole: none says its subject twice.
    assert not [answer for title, answer in answers.items() if re.match(rf"{re.escape(title)} is .*{title} is", answer)]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("entry = 1", r"g\.toml: has no \[\[entry\]\]"),
        ("no toml", "is no readable TOML file"),
        ("", r"has no \[\[entry\]\]; give title and text of each"),
        ("[[entry]]\ntitle = 'X'", r"entry 1 \('X'\): text is None; it must be a text"),
        (
            "[[entry]]\ntitle='X'\ntext='X is a tool.'\nfacts=[{kind='why',answer='tool'}]",
            "the kind of a fact is 'why'; allowed: stands for, who, when, where",
        ),
        (
            "[[entry]]\ntitle='X'\ntext='X is a tool.'\nfacts=[{kind='who',verb='made',answer='Ada'}]",
            "the answer 'Ada' stands 0 times in the text; it must once",
        ),
        (
            "[[entry]]\ntitle='X'\ntext='X is a tool by Ada.'\nfacts=[{kind='who',answer='Ada'}]",
            "the fact 'Ada' has the verb ''; who, when and where need one",
        ),
        (
            "[[entry]]\ntitle='X'\ntext='X is a tool.'\n[[entry]]\ntitle='Y'\naliases=['x']\ntext='Y is a tool.'",
            r"entry 2 \('Y'\): the name 'x' is that of 'X' too",
        ),
    ],
)
def test_a_glossary_that_is_wrong_is_explained(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / "g.toml").write_text(text, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_glossary(tmp_path / "g.toml")


@pytest.mark.parametrize("verb", ["written", "built", "made", "developed", "introduced", "open-sourced", "published"])
def test_every_wording_can_be_said(verb: str) -> None:
    assert tuple(WORDINGS) == KINDS
    for kind, wordings in WORDINGS.items():
        for wording in wordings:
            said = ask(Triple(0, kind, "PEL", 0, "y", verb), wording)
            assert "PEL" in said, wording
            assert "{" not in said
            assert not re.search(r"\b(writed|builded|maked|developped|developd|introduc )\b", said), said
    for around in (*FRAMES, *BEFORE):
        assert around.format(q="Who wrote PEL?", o="ink").count("Who wrote PEL?") == (around in FRAMES), around
    assert ask(Triple(0, "what", "PEL", 0, "y"), "What is {x} in {o}?", other="ink") == "What is PEL in ink?"
    assert ask(Triple(0, "who", "PEL", 0, "y", "written"), "Who {past} {x}?") == "Who wrote PEL?"
    assert ask(Triple(0, "when", "PEL", 0, "y", "introduced"), "When did they {do} {x}?") == (
        "When did they introduce PEL?"
    )


def test_entries_are_dealt_out_by_title() -> None:
    parts = Counter(part_of(f"entry {number}") for number in range(4000))
    assert set(parts) == set(PARTS)
    assert parts["validation"] / 4000 == pytest.approx(0.05, abs=0.01)
    assert parts["test"] / 4000 == pytest.approx(0.10, abs=0.015)
    assert part_of("Python") == part_of("python")


@pytest.mark.parametrize(
    ("name", "parts", "count"),
    [("questions.jsonl", {"test"}, 200), ("questions-validation.jsonl", {"validation"}, 143)],
)
def test_the_frozen_questions_are_about_held_out_entries(name: str, parts: set[str], count: int) -> None:
    rows = [json.loads(line) for line in (FOLDER / name).read_text(encoding="utf-8").splitlines()]
    assert len(rows) == len({row["question"].casefold() for row in rows}) == count
    assert set(Counter(row["kind"] for row in rows)) == set(KINDS)
    assert {part_of(row["entry"]) for row in rows} == parts
    for row in rows:
        assert row["keys"], row
        assert all(group and all(key.strip() for key in group) for group in row["keys"]), row
        assert not any(key.casefold() in row["question"].casefold() for group in row["keys"] for key in group), row
