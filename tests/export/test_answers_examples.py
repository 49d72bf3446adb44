"""What is learnt from: questions beside passages that answer them, and beside passages that do not."""

from __future__ import annotations

import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from muserve_export.errors import DataError
from muserve_export.families.answers.corpus.corpus import Corpus, read_corpus
from muserve_export.families.answers.corpus.parts import part_of
from muserve_export.families.answers.corpus.triples import KINDS, find_triples
from muserve_export.families.answers.examples.maker import (
    MAX_PASSAGE_CHARACTERS,
    MAX_PASSAGES,
    Example,
    ExampleMaker,
)
from muserve_export.families.answers.examples.silence import find_silent_kinds
from muserve_server.tasks.answer.entries import Entry

WORDS = (
    "Amber", "Birch", "Cedar", "Delta", "Ember", "Fjord", "Grove", "Heath", "Inlet", "Jetty", "Knoll", "Ledge", "Marsh",
    "North", "Orbit", "Plain", "Quartz", "Ridge",
)  # fmt: skip


def corpus(count: int = 120) -> Corpus:
    """Entries of which each says all five kinds of things, or of every third nothing but what it is."""
    entries = []
    for index in range(count):
        first, second = WORDS[index % len(WORDS)], WORDS[index // len(WORDS)]
        title, short = f"{first} {second} System", f"{first[0]}{second[0]}S{index}"
        text = f"A tool for {first.lower()} of the kind {index}."
        if index % 3:
            text = f"A tool for {first.lower()}, written by Ada {second} at {first} College in {1900 + index}. It runs."
        entries.append(Entry(title, (short.rstrip("0123456789"),), ("tool",) if index % 2 else (), text))
    triples = [triple for index, entry in enumerate(entries) for triple in find_triples(index, entry)]
    return Corpus(Path(), entries, triples, (), "")


@pytest.fixture(scope="module")
def maker() -> ExampleMaker:
    return ExampleMaker(corpus(), "train")


@pytest.fixture(scope="module")
def drawn(maker: ExampleMaker) -> list[Example]:
    random = np.random.default_rng(3)
    return [maker.draw(random) for _ in range(600)]


def test_an_answer_stands_where_its_evidence_is(drawn: list[Example]) -> None:
    answered = [example for example in drawn if example.answer]
    for example in answered:
        assert example.evidence is not None
        passage = example.passages[example.evidence.passage]
        said = passage[example.evidence.start : example.evidence.end]
        assert said
        assert said.rstrip(".")[1:] in example.answer  # its first letter may be a small one there
    assert {example.kind for example in answered} == set(KINDS)


def test_a_fifth_has_no_answer_half_of_it_beside_the_entry(maker: ExampleMaker, drawn: list[Example]) -> None:
    without = [example for example in drawn if not example.answer]
    assert len(without) / len(drawn) == pytest.approx(0.2, abs=0.05)
    assert all(example.evidence is None for example in without)
    there = [example for example in without if example.position >= 0]
    assert 0.3 < len(there) / len(without) < 0.7
    for example in there:
        assert example.kind in find_silent_kinds(corpus().entries[example.subject])


def test_passages_are_few_different_and_in_any_order(drawn: list[Example]) -> None:
    counts = Counter(len(example.passages) for example in drawn)
    assert max(counts) == MAX_PASSAGES
    assert counts[1] > 60
    for example in drawn:
        assert len(set(example.passages)) == len(example.passages)
    places = Counter(example.evidence.passage for example in drawn if example.evidence and len(example.passages) == 3)
    assert min(places[place] for place in range(3)) > 20


def test_parts_do_not_mix() -> None:
    whole = corpus()
    parts = {part: ExampleMaker(whole, part) for part in ("train", "validation", "test")}
    assert sorted(index for maker in parts.values() for index in maker.entries) == list(range(len(whole.entries)))
    random = np.random.default_rng(0)
    texts = [whole.entries[index].text for index in parts["test"].entries]
    for _ in range(50):
        example = parts["test"].draw(random)
        assert part_of(whole.entries[example.subject].title) == "test"
        # As entries, or in sentences alone: "X is a tool …" for "X: A tool …".
        assert all(any(passage.endswith(text[1:]) for text in texts) for passage in example.passages)


def test_prose_does_not_tell_that_there_is_an_answer(drawn: list[Example]) -> None:
    """Passages in sentences alone are as often beside questions that they do not answer."""
    shares = []
    for is_answer in (True, False):
        passages = [
            passage
            for example in drawn
            for place, passage in enumerate(example.passages)
            if (bool(example.answer) and place == example.position) == is_answer
        ]
        shares.append(np.mean([" is a tool" in passage for passage in passages]))
    assert 0.1 < shares[0] < 0.35
    assert 0.1 < shares[1] < 0.35


def test_what_stands_beside_is_often_what_a_search_finds(maker: ExampleMaker) -> None:
    """Most of what is read in use shares words with the question."""
    triple = next(triple for triple in maker.triples if triple.kind == "who")
    named = {word.casefold() for word in triple.subject.split() if word != "System"}
    random = np.random.default_rng(4)
    drawn = [maker.of_triple(triple, "Who {past} {x}?", random) for _ in range(200)]
    beside = [
        text for example in drawn for place, text in enumerate(example.passages) if place != example.position
    ]  # fmt: skip
    sharing = [any(word in text.casefold().split(":")[0] for word in named) for text in beside]
    by_chance = [any(word in entry.title.casefold() for word in named) for entry in corpus().entries]
    assert np.mean(sharing) > np.mean(by_chance) + 0.08


def test_what_is_mentioned_in_passing_is_not_asked_about(maker: ExampleMaker) -> None:
    triple = next(triple for triple in maker.triples if triple.kind == "who")
    random = np.random.default_rng(4)
    asked = [maker.of_triple(triple, "{o}: who {past} {x}?", random) for _ in range(100)]
    titles = {entry.title.casefold() for entry in corpus().entries}
    mentioned = [example.question.casefold().split(": who")[0] for example in asked if ": who" in example.question]
    assert mentioned
    assert all(any(each.endswith(title) for title in titles | {"tool", "this"}) for each in mentioned)
    assert not any(triple.subject.casefold() in each for each in mentioned)


def test_the_same_seed_draws_the_same(maker: ExampleMaker) -> None:
    first, again, other = (
        [maker.draw(np.random.default_rng(seed)) for _ in range(3)] for seed in (5, 5, 6)
    )  # fmt: skip
    assert first == again
    assert first != other


def test_long_entries_are_cut_at_a_word_and_what_is_cut_off_is_not_asked() -> None:
    entries = [
        Entry(
            f"tool {index}", (), (), f"A tool for {index} long texts. It runs{' on' * length}. It was written in 1983."
        )
        for index in range(60)
        for length in (3, 300)
    ]
    triples = [triple for index, entry in enumerate(entries) for triple in find_triples(index, entry)]
    assert {triple.kind for triple in triples if triple.entry % 2} == {"what", "when"}
    maker = ExampleMaker(Corpus(Path(), entries, triples, (), ""), "train")
    long = [index for index in maker.entries if index % 2]
    for index in long:
        passage = maker.passage(index)
        assert 0.9 * MAX_PASSAGE_CHARACTERS < len(passage) <= MAX_PASSAGE_CHARACTERS
        assert entries[index].context.startswith(f"{passage} ")
    kinds = {is_long: {each.kind for each in maker.triples if each.entry % 2 == is_long} for is_long in (0, 1)}
    assert kinds == {0: {"what", "when"}, 1: {"what"}}


def test_what_is_held_out_is_not_learnt_under_another_title() -> None:
    text = "A tool for the cutting of very long texts into pieces of one length."
    entries = [Entry(f"tool {index}", (), (), f"{text} {index}") for index in range(60)]
    held = next(index for index, entry in enumerate(entries) if part_of(entry.title) == "test")
    names = (title for number in range(99) if part_of(title := f"cutter {number}") == "train")
    entries += [
        Entry(next(names), (entries[held].title.upper(),), (), "A tool."),
        Entry(next(names), (), (), entries[held].text),
        Entry(next(names), (), (), "A tool."),
    ]
    maker = ExampleMaker(Corpus(Path(), entries, (), (), ""), "train")
    assert [index for index in maker.entries if index >= 60] == [62]


def test_a_part_without_entries_is_explained() -> None:
    few = Corpus(Path("few.csv"), [Entry("tool", (), (), "A tool.")], (), (), "")
    empty = next(part for part in ("train", "validation", "test") if part != part_of("tool"))
    with pytest.raises(DataError, match=rf"few\.csv: of 1 entries none falls to the part '{empty}'; give some dozens"):
        ExampleMaker(few, empty)


@pytest.mark.parametrize(
    ("entry", "silent"),
    [
        (Entry("PEL", (), (), "A tool."), {"stands for", "who", "when", "where"}),
        (Entry("PEL", (), (), "Plain Engine for Letters, a tool."), {"who", "when", "where"}),
        (Entry("PEL", (), (), "A tool which Ada wrote."), {"stands for", "when", "where"}),
        (Entry("pel", (), (), "A tool of the 80s, from Ada, sold in Paris."), set()),
        (Entry("pel", (), (), "A tool used since 1990 at universities."), {"who"}),
        (Entry("pel", (), (), "DEC's tool of the 1980s, used in Paris."), set()),
    ],
)
def test_silence_is_only_believed_where_no_word_could_answer(entry: Entry, silent: set[str]) -> None:
    assert set(find_silent_kinds(entry)) == silent


def test_pairs_are_asked_in_their_own_words(tmp_path: Path) -> None:
    rows = [{"question": f"When does shop {index} open?", "answer": f"At {index}."} for index in range(60)]
    (tmp_path / "a.jsonl").write_text("\n".join(map(json.dumps, rows)))
    maker = ExampleMaker(read_corpus(tmp_path / "a.jsonl"), "train")
    random = np.random.default_rng(0)
    without = 0
    for _ in range(100):
        example = maker.draw(random)
        if example.position < 0:
            assert (example.answer, example.evidence) == ("", None)
            without += 1
            continue
        assert {"question": example.question, "answer": example.answer} in rows
        assert example.evidence is not None
        passage = example.passages[example.evidence.passage]
        assert passage == f"{example.question}: {example.answer}"
        assert passage[example.evidence.start : example.evidence.end] == example.answer
    assert 8 < without < 35
