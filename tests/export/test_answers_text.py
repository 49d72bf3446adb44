"""Texts to tokens and back: what is copied comes out as it stood, whatever was typed."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from muserve_export.families.answers.corpus.vocabulary import learn_vocabulary
from muserve_server.tasks.answer.text import BEGIN, END, PADDING, SPECIAL, TextCodec, Tokens, Written

TEXTS = [
    "Plain Engine for Letters (PEL): A high-level language by Ada Smith.",
    "it stands for plain engine, was written by ada in 1983 and is a tool",
] * 20


@pytest.fixture(scope="module")
def codec() -> TextCodec:
    return TextCodec(learn_vocabulary(TEXTS, 300))


def copied(source: int, tokens: Tokens, start: int = 0, end: int | None = None) -> list[Written]:
    places = range(start, len(tokens) if end is None else end)
    return [Written(tokens.ids[place], source, place) for place in places]


def generated(codec: TextCodec, text: str) -> list[Written]:
    return [Written(token) for token in codec.encode(text).ids]


def test_capitals_do_not_matter_and_places_are_exact(codec: TextCodec) -> None:
    text = "  PLAIN   engine\n(Pel)."
    tokens = codec.encode(text)
    assert tokens.ids == codec.encode("plain engine (pel).").ids
    assert [text[start:end] for start, end in tokens.places][:2] == ["PLAIN", "engine"]
    assert not any(text[start:end].isspace() for start, end in tokens.places)
    assert tokens.spaced[0]
    assert tokens.cut(2).ids == tokens.ids[:2]


def test_what_is_unknown_is_copied_as_it_stands(codec: TextCodec) -> None:
    text = "Es heißt 中文 😀 von Göran-Å."
    tokens = codec.encode(text)
    assert codec.decode(copied(0, tokens), [tokens]) == text


@given(text=st.text(max_size=60))
@example(text="ß")
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
def test_a_text_that_is_copied_whole_comes_back_but_for_white_space(codec: TextCodec, text: str) -> None:
    tokens = codec.encode(text)
    assert all(0 <= start < end <= len(text) for start, end in tokens.places)
    said = codec.decode(copied(0, tokens), [tokens])
    kept = [(start, end) for start, end in tokens.places]
    assert kept == sorted(set(kept)), "each character is said once"
    covered = "".join(text[start:end] for start, end in kept)
    assert "".join(said.split())[1:] == "".join(covered.split())[1:]


@pytest.mark.parametrize(
    "text",
    [
        'The "white pages" user directory, by Samuel A. Morse and A. Krasinski - a boys\' club.',
        "½ of the ™ marks; ﬃ and … too.",
        "On-line, high-level and 1/2. It runs.",
        "[PAD] is typed, and [EOS].",
    ],
)
def test_a_sentence_that_is_copied_is_not_changed(codec: TextCodec, text: str) -> None:
    tokens = codec.encode(text)
    assert not {PADDING, BEGIN, END} & set(tokens.ids)
    assert codec.decode(copied(0, tokens), [tokens]) == text
    by = generated(codec, "by")
    assert codec.decode([*by, *copied(0, tokens)], [tokens]) == f"By {text}"


def test_an_answer_is_put_together_from_question_words_and_passage(codec: TextCodec) -> None:
    question = codec.encode("what is pel?")
    passage = codec.encode("Plain Engine for Letters (PEL): A high-level language by Ada Smith.")
    start = next(place for place, (first, _) in enumerate(passage.places) if passage.text[first] == "A")
    name = passage.covering(passage.text.index("PEL"), passage.text.index("PEL") + 3)
    assert name is not None
    answer = [
        Written(BEGIN),
        *copied(1, passage, *name),
        *generated(codec, "is"),
        *copied(1, passage, start),
        Written(END),
    ]
    assert codec.decode(answer, [question, passage]) == "PEL is a high-level language by Ada Smith."
    asked = question.covering(8, 11)
    assert asked is not None
    lower = [*copied(0, question, *asked), *generated(codec, "stands for"), *copied(1, passage, 0, 4)]
    assert codec.decode(lower, [question, passage]) == "Pel stands for Plain Engine for Letters"


def test_a_piece_of_a_text_has_its_tokens(codec: TextCodec) -> None:
    tokens = codec.encode("written by Ada Smith.")
    whole, first, last = (tokens.covering(*place) for place in ((11, 20), (11, 12), (19, 20)))
    assert whole is not None
    assert first is not None
    assert last is not None
    assert whole == (first[0], last[1])
    assert tokens.covering(7, 8) is None


@pytest.mark.parametrize("text", ["", "{}", "no json"])
def test_what_is_no_tokenizer_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match="the tokenizer cannot be read"):
        TextCodec(text)


def test_a_tokenizer_with_other_special_tokens_is_refused(codec: TextCodec) -> None:
    assert codec.size > len(SPECIAL)
    with pytest.raises(ValueError, match=r"they must be \('\[PAD\]'"):
        TextCodec(learn_vocabulary(TEXTS, 300).replace("[BOS]", "[CLS]"))


@pytest.mark.parametrize(
    "text", ["cafe\u0301 was", "a \u1112\u1161\u11ab b", "\uff76\uff9e on", "a\ufb01nd", "x\u200by", "½ cup"]
)
def test_what_is_one_sign_to_the_eye_is_copied_whole_and_once(codec: TextCodec, text: str) -> None:
    tokens = codec.encode(text)
    covered = [index for start, end in tokens.places for index in range(start, end)]
    assert covered == [index for index, character in enumerate(text) if not character.isspace()]
    said = codec.decode(copied(0, tokens), [tokens])
    assert said.lower().replace(" ", "") == (text[:1].title() + text[1:]).lower().replace(" ", "")


def test_a_sentence_begins_once(codec: TextCodec) -> None:
    passage = codec.encode("a tool is a tool is a thing. it is what it is.")
    said = codec.decode(copied(0, passage, 0, len(passage)), [passage])
    assert said == "A tool is a thing. it is what it is."
