"""What answers are looked up in: the bundled folder, folders of one's own, and files of questions and answers."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from muserve_export.errors import DataError
from muserve_export.families.answers.corpus.collection import collect_answers
from muserve_export.families.answers.corpus.corpus import read_corpus
from muserve_server.tasks.answer.entries import Entry
from tests.export.dictionaries import PLAIN, write_dictionary
from tests.export.packages import deb

SQUAD: dict[str, Any] = {
    "version": "v2.0",
    "data": [
        {
            "title": "Engines",
            "paragraphs": [
                {
                    "context": "The Analytical Engine was proposed by Charles Babbage in 1837.",
                    "qas": [
                        {
                            "id": "1",
                            "question": "Who proposed it? ",
                            "answers": [{"text": "Charles Babbage", "answer_start": 38}],
                        },
                        {"id": "2", "question": "Who paid for it?", "answers": [], "is_impossible": True},
                    ],
                }
            ],
        }
    ],
}


def test_the_bundled_folder_has_dictionary_and_glossary_side_by_side(tmp_path: Path) -> None:
    source = write_dictionary(tmp_path / "source", {"pel": PLAIN})
    said = collect_answers(tmp_path / "answers", [source])
    assert said.startswith("1 entries of FOLDOC; ")
    about = json.loads((tmp_path / "answers/about.json").read_text())
    assert "GNU Free Documentation License" in about["foldoc.jsonl"]["licence"]
    corpus = read_corpus(tmp_path / "answers")
    assert corpus.entries[0].title == "Plain Engine for Letters"
    assert len(corpus.entries) == 1 + about["glossary.toml"]["entries"]
    by_title = {entry.title: index for index, entry in enumerate(corpus.entries)}
    assert {"deep learning", "gRPC", "Python"} <= by_title.keys()
    for triple in corpus.triples:
        entry = corpus.entries[triple.entry]
        assert triple.subject in entry.names
        assert triple.start == -1 or entry.text[triple.start :].startswith(triple.answer)
    assert {triple.kind for triple in corpus.triples if triple.entry == by_title["LSTM"]} >= {"what", "stands for"}
    assert corpus.pairs == ()


def test_the_dictionary_comes_out_of_a_package_too(tmp_path: Path) -> None:
    source = write_dictionary(tmp_path / "source", {"pel": PLAIN})
    files = {f"usr/share/dictd/{path.name}": path.read_bytes() for path in source.iterdir()}
    (tmp_path / "dict-foldoc.deb").write_bytes(deb(files))
    collect_answers(tmp_path / "answers", [tmp_path / "dict-foldoc.deb"])
    assert read_corpus(tmp_path / "answers").entries[0].title == "Plain Engine for Letters"


def test_collecting_says_what_is_in_its_way(tmp_path: Path) -> None:
    (tmp_path / "used").mkdir()
    (tmp_path / "used/mine.txt").touch()
    with pytest.raises(DataError, match="is not empty; remove it, or choose another folder"):
        collect_answers(tmp_path / "used", [])
    with pytest.raises(DataError, match=r"nowhere: does not exist; pass dict-foldoc\.deb"):
        collect_answers(tmp_path / "new", [tmp_path / "nowhere"])
    with pytest.raises(DataError, match="2 sources were given; give one"):
        collect_answers(tmp_path / "new", [tmp_path, tmp_path])
    assert not (tmp_path / "new").exists()


def test_pairs_come_from_csv_and_json_lines_alike(tmp_path: Path) -> None:
    rows = [
        {"question": "When do you open?", "answer": "At nine.", "context": ""},
        {"question": "Who bakes?", "answer": "Ada", "context": "Our bread,\nwhich Ada bakes, is dark."},
        {"question": "What is dark?", "answer": "Our loaf", "context": "Our bread,\nwhich Ada bakes, is dark."},
    ]
    lines = ['Question , answer,context\r\n"When do you open?",At nine.,\r\n']
    lines += [f'{row["question"]},{row["answer"]},"{row["context"]}"\r\n' for row in rows[1:]]
    (tmp_path / "a.csv").write_text("".join(lines), encoding="utf-8-sig", newline="")
    (tmp_path / "a.jsonl").write_text("\n".join(json.dumps(row) for row in rows) + "\n\n", encoding="utf-8")
    table, objects = read_corpus(tmp_path / "a.csv"), read_corpus(tmp_path / "a.jsonl")
    assert (table.entries, table.pairs) == (objects.entries, objects.pairs)
    assert table.entries == [
        Entry("When do you open?", (), (), "At nine."),
        Entry("", (), (), "Our bread,\nwhich Ada bakes, is dark."),
    ]
    assert [(pair.question, pair.entry, pair.start) for pair in table.pairs] == [
        ("When do you open?", 0, 0),
        ("Who bakes?", 1, 17),
        ("What is dark?", 1, -1),
    ]
    assert table.entries[0].context == "When do you open?: At nine."
    assert table.entries[1].context.startswith("Our bread")


def test_an_answer_is_found_as_words_of_its_own(tmp_path: Path) -> None:
    rows = [
        {"question": "How many?", "answer": "9", "context": context} for context in ("In 1983, 9 came.", "In 1983.")
    ]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    assert [pair.start for pair in read_corpus(tmp_path / "a.jsonl").pairs] == [9, -1]


def test_squad_comes_with_its_spans_and_what_it_does_not_say(tmp_path: Path) -> None:
    (tmp_path / "squad.json").write_text(json.dumps(SQUAD), encoding="utf-8")
    corpus = read_corpus(tmp_path / "squad.json")
    assert len(corpus.entries) == 1
    assert [(pair.question, pair.answer, pair.start) for pair in corpus.pairs] == [
        ("Who proposed it?", "Charles Babbage", 38),
        ("Who paid for it?", "", -1),
    ]
    SQUAD["data"][0]["paragraphs"][0]["qas"][0]["answers"][0]["answer_start"] = 3
    (tmp_path / "squad.json").write_text(json.dumps(SQUAD), encoding="utf-8")
    with pytest.raises(DataError, match="question '1': 'Charles Babbage' does not stand at 3"):
        read_corpus(tmp_path / "squad.json")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("a.txt", "x", r"of type '\.txt'; it must be a folder"),
        ("a.csv", "q,a\nx,y\n", r"a\.csv: has the columns \['q', 'a'\]; it must have question and answer"),
        ("a.csv", "question,answer\nWhy?,\n", r"a\.csv: line 2: answer is ''; it must be a text"),
        ("a.csv", "question,answer\n", "has no question with an answer"),
        ("a.csv", f"question,answer\nWhy?,{'x' * 140_000}\n", "behind line 1: is no CSV .*field limit"),
        ("a.jsonl", '{"question": "Why?"}', "line 1: answer is None"),
        ("a.jsonl", '{"question": "Why?", "answer": "So", "context": 3}', "line 1: context is 3"),
        ("a.jsonl", "\n[1]", "line 2: is list; each line must be an object"),
        ("a.jsonl", "{", "line 1: is not JSON"),
        ("a.json", "[]", "is not in the form of SQuAD"),
    ],
)
def test_a_file_of_no_use_is_explained(tmp_path: Path, name: str, content: str, message: str) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(DataError, match=message):
        read_corpus(tmp_path / name)


def test_a_folder_of_no_use_is_explained(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has no entries; it must be a folder with"):
        read_corpus(tmp_path)
    (tmp_path / "a.jsonl").write_text('{"title": "x"}\n')
    with pytest.raises(DataError, match=r"a\.jsonl: line 1: must have a title and a text, got 'x' and None"):
        read_corpus(tmp_path)
    (tmp_path / "a.csv").write_bytes(b"question,answer\n\xff,x\n")
    with pytest.raises(DataError, match="is not UTF-8"):
        read_corpus(tmp_path / "a.csv")
    with pytest.raises(DataError, match="which does not exist; it must be a folder"):
        read_corpus(tmp_path / "nowhere")
