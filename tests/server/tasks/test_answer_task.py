"""Questions and texts through the answer task: what is read, written, refused, and said of where it stands."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muserve.bundle import BundleError, ManifestError
from muserve.errors import InvalidRequestError
from muserve.v1 import answer_pb2, manifest_pb2
from muserve_server.engine import BatcherOptions
from muserve_server.model import LocalModel
from tests.answer_bundles import ANSWER_TOKENS, ENTRIES, KINDS, copy_bundle
from tests.bundles import edit_manifest
from tests.options import local_options
from tests.server.tasks.opening import opened_bundle

Ask = answer_pb2.AnswerQuestionRequest
Request = answer_pb2.GenerateQuestionsRequest
LANTERN = "lantern (hand lamp): A lantern is a lamp with a case. Ann Lee was its inventor."


model = opened_bundle(copy_bundle)


async def test_the_corpus_is_searched_and_the_entry_named(model: LocalModel) -> None:
    response = await model.answer(Ask(question="What is a lantren?", seed=1))
    assert response.is_answerable
    assert response.answerable == pytest.approx(1 / (1 + 2.718281828**-10), abs=1e-6)
    assert response.question_read == "What is a lantern?"
    assert (response.source.title, list(response.source.aliases), response.source.corpus) == (
        "lantern", ["hand lamp"], "things",
    )  # fmt: skip
    assert response.source.text == LANTERN
    (answer,) = response.answers
    assert answer.text == "Lantern (hand lamp): A lantern is a lamp with a case. Ann Lee was its inventor."
    assert (answer.evidence.text, answer.evidence.start, answer.evidence.end) == (LANTERN, 0, len(LANTERN))
    assert 0.85 < answer.score < 0.95
    assert response.info.model == "copies"


async def test_of_a_context_the_place_is_told(model: LocalModel) -> None:
    context = "\n\n  The way to call.\n\nA server runs scripts.  "
    response = await model.answer(Ask(question="Who runs scripts?", context=context))
    evidence = response.answers[0].evidence
    assert evidence.text == context[evidence.start : evidence.end] == "A server runs scripts."
    assert response.HasField("source")
    assert (response.source.text, response.source.title, list(response.nearest)) == ("", "", [])


async def test_what_is_not_there_is_not_answered(model: LocalModel) -> None:
    response = await model.answer(Ask(question="brush", context="A lamp is a thing."))
    assert (response.is_answerable, len(response.answers)) == (False, 0)
    assert response.answerable < 0.01
    response = await model.answer(Ask(question="zzzz?"))
    assert (response.is_answerable, response.HasField("source")) == (False, False)
    # Node.js has no word of "brush": the nearest entries are named all the same.
    response = await model.answer(Ask(question="brush by Node"))
    assert response.nearest[0] == "Node.js"


async def test_answers_depend_on_seed_and_sample_alone(model: LocalModel) -> None:
    together = await model.answer(Ask(question="lantern", count=24, seed=5))
    texts = [answer.text for answer in together.answers]
    assert len(set(texts)) > 3  # some are cut short
    assert texts[0] == max(texts, key=len)
    assert [answer.sample for answer in together.answers] == list(range(24))
    alone, again, other = await asyncio.gather(
        model.answer(Ask(question="lantern", count=1, seed=5, first_sample=7)),
        model.answer(Ask(question="lantern", count=24, seed=5)),
        model.answer(Ask(question="lantern", count=24, seed=6)),
    )
    assert alone.answers[0] == together.answers[7]
    assert again.answers == together.answers
    assert [answer.text for answer in other.answers] != texts
    drawn = await model.answer(Ask(question="lantern", count=2))
    assert 0 <= drawn.info.seed < 2**53


async def test_answers_end_where_they_are_told_to(model: LocalModel) -> None:
    response = await model.answer(Ask(question="lantern", max_tokens=3))
    assert response.answers[0].text == "Lantern (hand"


async def test_questions_come_with_answers_that_were_found_again(model: LocalModel) -> None:
    context = "A lamp is a thing.\n\nA brush.\n\nAnn Lee was its inventor.\n\nA lamp is a thing."
    response = await model.answer(Request(context=context, seed=1, count=8))
    assert [(pair.kind, pair.evidence.text) for pair in response.pairs] == [
        ("lamp", "A lamp is a thing."),
        ("inventor", "Ann Lee was its inventor."),
    ]
    for pair in response.pairs:
        assert context[pair.evidence.start : pair.evidence.end] == pair.evidence.text == pair.question == pair.answer
        assert 0 < pair.score <= 1
    again = await model.answer(Request(context=context, seed=1, count=8))
    assert again.pairs == response.pairs
    assert len((await model.answer(Request(context=context, seed=1, count=1))).pairs) == 1
    assert not (await model.answer(Request(context="A brush."))).pairs


async def test_long_texts_are_read_in_several_passages(model: LocalModel) -> None:
    context = "The server is on. " * 300 + "Ann Lee was its inventor. " + "The server is on. " * 300
    response = await model.answer(Ask(question="inventor", context=context))
    evidence = response.answers[0].evidence
    assert "inventor" in evidence.text
    assert context[evidence.start : evidence.end] == evidence.text
    many = [*["The server is on."] * 60, "Ann Lee was its inventor.", *["The server is on."] * 60]
    asked = await model.answer(Request(context="\n\n".join(many), count=3))
    assert [pair.kind for pair in asked.pairs] == ["inventor"]


@pytest.mark.parametrize(
    ("request_", "field", "text"),
    [
        (Ask(), "question", "is empty; give a text"),
        (Ask(question=" \n\t"), "question", "is empty; give a text"),
        (Ask(question="what\x00?"), "question", "has the control character U+0000; remove it"),
        (Ask(question="x" * 8001), "question", "has 8,001 bytes; allowed: up to 8,000"),
        (Ask(question="é" * 4001), "question", "has 8,002 bytes"),
        (Ask(question="lamp", context=""), "context", "is empty"),
        (Ask(question="lamp", context="y" * 64001), "context", "has 64,001 bytes; allowed: up to 64,000"),
        (Ask(question="lamp", count=0), "count", "is 0; allowed: 1 up to 256"),
        (Ask(question="lamp", count=257), "count", "is 257; allowed: 1 up to 256"),
        (Ask(question="lamp", max_tokens=0), "max_tokens", f"is 0; allowed: 1 up to {ANSWER_TOKENS}"),
        (Ask(question="lamp", max_tokens=99), "max_tokens", f"is 99; allowed: 1 up to {ANSWER_TOKENS}"),
        (Ask(question="lamp", first_sample=2**53), "first_sample", "first_sample + count at most 2^53"),
        (Request(), "context", "is empty"),
        (Request(context="\x07"), "context", "U+0007"),
        (Request(context="lamp", count=0), "count", "is 0"),
    ],
)
async def test_bad_requests_are_explained(model: LocalModel, request_: Any, field: str, text: str) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await model.answer(request_)
    (violation,) = caught.value.violations
    assert violation.field == field
    assert text in violation.description


async def test_all_that_is_wrong_is_told_at_once(model: LocalModel) -> None:
    with pytest.raises(InvalidRequestError) as caught:
        await model.answer(Ask(context="", count=0, max_tokens=0))
    assert [violation.field for violation in caught.value.violations] == ["question", "context", "count", "max_tokens"]


@pytest.mark.parametrize("question", ["?!", "日本語の質問", "🙂🙂", "the of and", "a " * 900, "​", "lamp‮?"])
async def test_strange_questions_get_an_honest_answer(model: LocalModel, question: str) -> None:
    response = await model.answer(Ask(question=question, context="Nothing of it stands here: 山."))
    assert response.is_answerable == bool(response.answers)


async def test_without_a_corpus_a_context_is_needed(tmp_path: Path) -> None:
    async with await LocalModel.open(copy_bundle(tmp_path, with_corpus=False)) as model:
        with pytest.raises(InvalidRequestError, match="no corpus of its own; give a text"):
            await model.answer(Ask(question="lamp"))
        assert (await model.answer(Ask(question="lamp", context="A lamp."))).answers


async def test_a_model_that_was_not_taught_to_ask_says_so(tmp_path: Path) -> None:
    folder = edit_manifest(copy_bundle(tmp_path), lambda manifest: manifest.answer.ClearField("kinds"))
    async with await LocalModel.open(folder) as model:
        with pytest.raises(InvalidRequestError, match="was not trained to generate questions"):
            await model.answer(Request(context="A lamp."))


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=60)
@given(st.text(min_size=1, max_size=60), st.text(min_size=1, max_size=300))
async def test_any_text_is_answered_or_refused(model: LocalModel, question: str, context: str) -> None:
    try:
        response = await model.answer(Ask(question=question, context=context, count=2, seed=1))
    except InvalidRequestError as error:
        refused = {violation.field for violation in error.violations}
    else:
        refused = set()
    assert refused <= {"question", "context"}
    if refused:
        return
    for answer in response.answers:
        evidence = answer.evidence
        assert context[evidence.start : evidence.end] == evidence.text
    asked = await model.answer(Request(context=context, seed=1))
    assert all(pair.kind in KINDS for pair in asked.pairs)


@pytest.mark.parametrize(
    ("edit", "text"),
    [
        (lambda answer: setattr(answer, "reader", "nothing"), "answer.reader is 'nothing', which is not a graph"),
        (lambda answer: setattr(answer, "reader", "writer"), "graph 'writer' must have the inputs"),
        (lambda answer: setattr(answer, "least_share", 1.5), "answer.least_share is 1.5; allowed: 0 up to 1"),
        (lambda answer: setattr(answer, "latent_size", 5), "graph 'writer' must have the inputs"),
        (lambda answer: setattr(answer, "answer_tokens", 0), "answer.answer_tokens is 0; allowed: 1 up to"),
        (lambda answer: setattr(answer, "passages_read", 65), "answer.passages_read is 65"),
        (lambda answer: setattr(answer, "temperature", 0), "temperature is 0.0; it must be above 0"),
        (lambda answer: setattr(answer, "answerable_offset", float("nan")), "answerable_offset is nan"),
        (
            lambda answer: setattr(answer, "tokenizer_file", "other.json"),
            "'other.json', which is not listed under files",
        ),
        (lambda answer: answer.kinds.append(KINDS[0]), "must be different names"),
    ],
)
async def test_settings_that_contradict_the_graphs_are_refused(
    tmp_path: Path, edit: Callable[[manifest_pb2.AnswerSettings], object], text: str
) -> None:
    folder = edit_manifest(copy_bundle(tmp_path), lambda manifest: edit(manifest.answer))
    with pytest.raises(ManifestError, match=text):
        await LocalModel.open(folder)


@pytest.mark.parametrize(
    ("file", "content", "text"),
    [
        ("tokenizer.json", "{}", r"tokenizer\.json: the tokenizer cannot be read"),
        ("things.jsonl", "no JSON\n", r"things\.jsonl: line 1: is not JSON"),
        ("things.jsonl", json.dumps({"title": "lamp"}), r"things\.jsonl: line 1: must have a title and a text"),
        ("things.jsonl", json.dumps({**ENTRIES[0], "aliases": "x"}), r"line 1: aliases and domains must be lists"),
    ],
)
async def test_damaged_files_are_refused(tmp_path: Path, file: str, content: str, text: str) -> None:
    folder = copy_bundle(tmp_path)
    (folder / "assets" / file).write_text(content, encoding="utf-8")
    edit_manifest(folder, lambda _: None)  # with the digest that the file has now
    with pytest.raises(BundleError, match=text):
        await LocalModel.open(folder)


async def test_a_graph_of_one_length_is_refused(tmp_path: Path) -> None:
    folder = edit_manifest(
        copy_bundle(tmp_path), lambda manifest: manifest.graphs[0].inputs[1].shape.__setitem__(1, 40)
    )
    with pytest.raises(ManifestError, match=r"graph 'reader' must have the inputs .*'passage': \[-1, -1\]"):
        await LocalModel.open(folder)


async def test_short_texts_are_read_and_written_in_short_rows(model: LocalModel) -> None:
    recorded = await model.record(Ask(question="lantern", context="A lantern."))
    assert recorded["0.reader.in.question"].shape == (1, 32)
    assert recorded["0.reader.in.passage"].shape == (1, 32)
    # Only what has a token goes to the writer: lantern, its end; a, lantern, ".".
    assert [int((row != 0).sum()) for row in recorded["1.0.writer.in.source"]] == [5]
    assert recorded["1.0.writer.in.memory"].shape[1] == 64
    long = await model.record(Ask(question="lantern", context="on " * 39))
    assert long["0.reader.in.passage"].shape[1] == 64


def _set_least_share(manifest: manifest_pb2.ModelManifest, *, share: float) -> None:
    manifest.answer.least_share = share


async def test_of_a_corpus_only_what_comes_near_the_best_is_read(tmp_path: Path) -> None:
    question = "What is a lantern on a server?"
    read = []
    for share in (0.0, 0.9):
        folder = copy_bundle(tmp_path / str(share))
        edit_manifest(folder, partial(_set_least_share, share=share))
        async with await LocalModel.open(folder) as model:
            recorded = await model.record(Ask(question=question))
            read.append(len(recorded["0.reader.in.passage"]))
            assert (await model.answer(Ask(question=question))).source.title == "lantern"
            # Who asks about a text of their own has all of it read.
            recorded = await model.record(Ask(question=question, context="The lantern.\n\nA server."))
            assert len(recorded["0.reader.in.passage"]) == 2
    assert read == [3, 1]


async def test_a_small_queue_takes_the_largest_call(tmp_path: Path) -> None:
    options = local_options(max_samples_per_call=16, batcher=BatcherOptions(16, 16, 0.0, 0.0))
    context = "\n\n".join(f"A lamp is {'on ' * number}." for number in range(1, 12))
    async with await LocalModel.open(copy_bundle(tmp_path), options) as model:
        assert len((await model.answer(Ask(question="lantern", count=16, seed=1))).answers) == 16
        assert (await model.answer(Request(context=context, count=16, seed=1))).pairs


async def test_many_drawn_answers_do_not_fill_the_queue(model: LocalModel) -> None:
    """The queue holds 1,024 rows; forty calls of 256 answers are ten times that."""
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            most = max(most, model._batchers["writer"].queued_rows)
            await asyncio.sleep(0)

    watching = asyncio.create_task(watch())
    responses = await asyncio.gather(
        *(model.answer(Ask(question="lamp", context="A lamp.", count=256, seed=seed)) for seed in range(40))
    )
    watching.cancel()
    assert all(len(response.answers) == 256 for response in responses)
    assert 0 < most <= 1024


async def test_evidence_over_a_heading_is_where_it_is_said_to_be(model: LocalModel) -> None:
    context = "Node was.\n\nlamp: A lamp is a thing."
    evidence = (await model.answer(Ask(question="lamp", context=context))).answers[0].evidence
    assert (evidence.text, context[evidence.start : evidence.end]) == ("lamp: A lamp is a thing.",) * 2
    far = "lamp: " + "The server runs scripts on a server. " * 4 + "Ann Lee was its inventor."
    evidence = (await model.answer(Ask(question="inventor", context=far))).answers[0].evidence
    assert evidence.text.endswith("Ann Lee was its inventor.")
    assert far[evidence.start : evidence.end] == evidence.text
    pair = (await model.answer(Request(context="lamp: A lamp."))).pairs[0]
    assert (pair.evidence.text, pair.evidence.start, pair.evidence.end) == ("lamp: A lamp.", 0, 13)


async def test_what_has_too_many_tokens_is_read_in_several(model: LocalModel) -> None:
    context = ". " * 41 + "Ann Lee was its inventor"
    response = await model.answer(Ask(question="inventor", context=context))
    assert response.is_answerable
    evidence = response.answers[0].evidence
    assert context[evidence.start : evidence.end] == evidence.text
    assert "inventor" in evidence.text


async def test_no_answer_is_empty(model: LocalModel) -> None:
    response = await model.answer(Ask(question="lantern", count=256, seed=5))
    assert all(answer.text for answer in response.answers)


async def test_questions_are_spread_over_the_text(model: LocalModel) -> None:
    context = "\n\n".join(f"lamp inventor {number}" for number in range(8))
    pairs = (await model.answer(Request(context=context, count=4, seed=1))).pairs
    assert len({pair.evidence.start for pair in pairs}) == 4


async def test_a_text_of_thousands_of_paragraphs_is_asked_about_in_bounds(model: LocalModel) -> None:
    runs = 0
    infer = model._batchers["reader"].infer

    async def count(rows: Any, **options: Any) -> Any:
        nonlocal runs
        runs += len(rows["question"])
        return await infer(rows, **options)

    model._batchers["reader"].infer = count  # type: ignore[method-assign]
    assert not (await model.answer(Request(context="a\n\n" * 20_000, count=1))).pairs
    assert runs <= 64 * len(KINDS)


async def test_no_answer_ends_in_the_middle_of_a_word(model: LocalModel) -> None:
    response = await model.answer(
        Ask(question="server", context="a.b runs on a server. It is made by 1.40 of us", count=256)
    )
    texts = {answer.text for answer in response.answers}
    assert len(texts) > 5  # some are cut short
    assert not any(text.lower().endswith(("a.", "1.")) for text in texts)
