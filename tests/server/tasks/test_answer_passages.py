"""Texts are cut into passages that can be read at once, and each character of them is found again."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muserve_server.tasks.answer.entries import Entry
from muserve_server.tasks.answer.passages import cut_context, cut_entry


def test_empty_lines_part_and_others_do_not() -> None:
    context = "  A lamp is a thing.\nIt shines.\n \t\n\nA door: it opens.  \n"
    passages = cut_context(context, 600)
    assert [passage.text for passage in passages] == ["A lamp is a thing.\nIt shines.", "A door: it opens."]
    assert [(passage.heading, passage.start) for passage in passages] == [("", 2), ("A door: ", 44)]


def test_long_paragraphs_are_cut_between_sentences_and_keep_their_heading() -> None:
    sentences = [f"Sentence number {number} says e.g. nothing." for number in range(12)]
    context = "tool (instrument): " + " ".join(sentences)
    passages = cut_context(context, 120)
    assert len(passages) > 3
    for passage in passages:
        assert passage.text.startswith("tool (instrument): Sentence")
        assert passage.text.endswith("nothing.")
        assert len(passage.text) <= 120
    told = [sentence for passage in passages for sentence in sentences if sentence in passage.text]
    assert told == sentences  # each once, in order


def test_without_a_heading_passages_share_a_sentence() -> None:
    sentences = [f"The lamp number {number} is red." for number in range(9)]
    first, second, *_ = cut_context(" ".join(sentences), 100)
    assert first.text.endswith(sentences[2])
    assert second.text.startswith(sentences[2])


def test_marks_behind_a_sentence_stay_with_it() -> None:
    texts = [passage.text for passage in cut_context('(The lamp is on a hill.) "It is on the far hill." ' * 6, 100)]
    assert all(text.endswith((".)", '."')) for text in texts)


def test_white_space_makes_no_passage() -> None:
    assert [passage.text for passage in cut_context("A" + " " * 500 + "B", 100)] == ["A", "B"]


def test_a_passage_is_split_and_still_knows_where_it_stands() -> None:
    context = "lamp: One two three. Four five six."
    first, second = cut_context(context, 100)[0].split(21)
    assert (first.text, second.text) == ("lamp: One two three.", "lamp: Four five six.")
    assert context[slice(*second.place(6, 20))] == "Four five six."


def test_what_has_no_end_is_cut_at_words_and_what_has_no_words_anywhere() -> None:
    for passage in cut_context("word " * 100, 60):
        assert len(passage.text) <= 60
        assert passage.text.split() == ["word"] * len(passage.text.split())
    assert "".join(passage.text for passage in cut_context("x" * 250, 100)) == "x" * 250


def test_an_entry_begins_with_its_names() -> None:
    entry = Entry("tool", ("instrument",), (), "One sentence of some length. " * 9)
    passages = cut_entry(entry, 7, 120)
    assert all(passage.text.startswith("tool (instrument): One") and passage.entry == 7 for passage in passages)
    assert cut_entry(Entry("", (), (), "Alone."), 0, 120)[0].text == "Alone."


@pytest.mark.parametrize("text", ["", " \n\n\t "])
def test_nothing_gives_nothing(text: str) -> None:
    assert cut_context(text, 100) == []


@given(st.text(alphabet=st.sampled_from("ab .:!?\n()Á山"), max_size=400), st.integers(8, 80))
def test_every_piece_is_found_again_where_it_stood(context: str, most: int) -> None:
    passages = cut_context(context, most)
    for passage in passages:
        assert 0 < len(passage.text) <= most
        for start in range(0, len(passage.text), 3):
            start, end = passage.one_piece(start, min(len(passage.text), start + 5))
            first, last = passage.place(start, end)
            assert context[first:last] == passage.text[start:end]
    kept = "".join(passage.text for passage in passages)
    assert all(character in kept for character in context if not character.isspace())
