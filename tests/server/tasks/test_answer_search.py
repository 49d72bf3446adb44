"""What is read for a question is found by its words and names, whatever the spelling."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muserve_server.tasks.answer.search import Document, Index

DOCUMENTS = [
    Document(("compiler",), "A program that turns programs into machine code."),
    Document(("compiler-compiler", "parser generator"), "A program that writes a compiler out of a grammar."),
    Document(("database",), "One or more large structured sets of data."),
    Document(("data",), "Numbers and letters; compiler writers have them too."),
    Document(("C++", "CPP"), "A language with classes."),
    Document(("C",), "A language of 1972."),
    Document(("Wi-Fi",), "A radio network."),
    Document(("it",), "The one that chases, in tag."),
    Document((), "Nameless prose about the aurora borealis."),
]


@pytest.fixture(scope="module")
def index() -> Index:
    return Index(DOCUMENTS)


def test_a_name_that_is_an_everyday_word_counts_less_than_a_rare_one() -> None:
    everyday = Document(("go",), "A game. Go on.")
    rare = Document(("awk",), "A language to go through lines.")
    others = [Document((f"tool {number}",), "Here things go on.") for number in range(20)]
    index = Index([everyday, rare, *others])
    assert index.find("How did awk go?", 1).documents == (1,)
    assert index.find("What is go?", 1).documents == (0,)


def test_a_word_that_is_spelled_like_a_name_counts_more() -> None:
    index = Index([Document(("form",), "Paper."), Document(("cas",), "A strobe.")])
    assert index.find("form of CAS", 2).documents == (1, 0)
    assert index.find("FORM of cas", 2).documents == (0, 1)


@pytest.mark.parametrize(
    ("question", "best"),
    [
        ("What is a compiler?", 0),
        ("what are compilers", 0),
        ("COMPILER COMPILER", 1),
        ("What does a parser generator do?", 1),
        ("define data base", 2),
        ("What is data?", 3),
        ("C++", 4),
        ("What is C?", 5),
        ("What is wifi?", 6),
        ("who has seen the aurora", 8),
        ("What is IT?", 7),
        ("IT", 7),
    ],
)
def test_the_right_entry_comes_first(index: Index, question: str, best: int) -> None:
    found = index.find(question, 3)
    assert found.documents[0] == best
    assert found.points[0] == 1.0
    assert list(found.points) == sorted(found.points, reverse=True)


@pytest.mark.parametrize(
    ("question", "read", "best"),
    [
        ("Waht is a comiler?", "what is a compiler?", 0),
        ("Explain databsae", "Explain database", 2),
        ("aurora borealiss", "aurora borealis", 8),
    ],
)
def test_misspelled_words_are_read_as_the_nearest(index: Index, question: str, read: str, best: int) -> None:
    found = index.find(question, 3)
    assert (found.question, found.documents[0]) == (read, best)


@pytest.mark.parametrize(
    "question",
    ["What is it for?", "What is it?", "WHAT IS IT?", "what is the?", "zzzzqqq xxxyyy", "???", "日本語", "🙂"],
)
def test_what_is_known_nowhere_finds_nothing(index: Index, question: str) -> None:
    found = index.find(question, 3)
    assert (found.question, found.documents) == (question, ())


def test_a_name_of_common_words_is_found_as_a_whole() -> None:
    index = Index([Document(("DWIM", "Do What I Mean"), "A guess."), Document(("is",), "Iceland.")])
    assert index.find("What is do what I mean?", 2).documents == (0,)


def test_short_words_and_numbers_are_not_guessed_at(index: Index) -> None:
    assert index.find("cmp 1973 dat8base", 3).question == "cmp 1973 dat8base"


@given(st.text(max_size=80), st.integers(1, 20))
def test_any_text_can_be_asked(question: str, most: int) -> None:
    found = Index(DOCUMENTS).find(question, most)
    assert len(found.documents) <= min(most, len(DOCUMENTS))
    assert len(set(found.documents)) == len(found.documents)


def test_documents_without_words_can_be_searched() -> None:
    assert Index([Document((), "?!"), Document(("…",), "")]).find("anything", 3).documents == ()
