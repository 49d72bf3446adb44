"""The answers family: from a user's own pairs, or a folder of entries, to served answers; the adversary; resume."""

from __future__ import annotations

import csv
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric

from muserve.bundle import read_bundle
from muserve.configuration import build, read_toml
from muserve.v1 import answer_pb2
from muserve_export.bundling.graphs import load_torchscript
from muserve_export.errors import DataError
from muserve_export.families import recipe_names, recipe_path
from muserve_export.families.answers import FAMILY
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.corpus.corpus import read_corpus
from muserve_export.families.answers.data import load_data
from muserve_export.families.answers.examples.maker import ExampleMaker
from muserve_export.families.answers.measure.baselines import Bm25, best_overlap, first_sentence
from muserve_export.families.answers.measure.calibration import Question, Searched, choose_search, fit_logistic
from muserve_export.families.answers.measure.compare import compare
from muserve_export.families.answers.measure.questions import (
    answerable_questions,
    is_right,
    read_keyed,
    unanswerable_questions,
)
from muserve_export.families.answers.measure.scoring import token_f1s, word_f1
from muserve_export.families.answers.train import AnswersLearner
from muserve_export.families.answers_tutorial.model import make_networks
from muserve_export.measuring.evaluate import evaluate_bundle
from muserve_export.training.run import read_checkpoint
from muserve_server.model import LocalModel
from muserve_server.tasks.answer.entries import Entry
from muserve_server.tasks.answer.text import END
from tests.export.conftest import Command

TRAIN = ("train", "answers", "--recipe", "tiny")


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """200 questions about opening times, as a shop would have them."""
    path = tmp_path_factory.mktemp("pairs") / "shops.csv"
    days = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday")
    shops = ("bakery", "library", "museum", "market", "chemist", "theatre", "station", "school", "tailor", "forge")
    places = ("harbour", "hill", "river", "square")
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(["question", "answer"])
        for place in places:
            for shop in shops:
                for hour, day in enumerate(days, 7):
                    writer.writerow(
                        [f"When does the {shop} at the {place} open on {day}?", f"On {day} it opens at {hour}."]
                    )
    return path


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of entries that say all kinds of things."""
    folder = tmp_path_factory.mktemp("entries")
    firsts = (
        "Amber",
        "Birch",
        "Cedar",
        "Delta",
        "Ember",
        "Fjord",
        "Grove",
        "Heath",
        "Inlet",
        "Jetty",
        "Knoll",
        "Ledge",
    )
    seconds = ("Quartz", "Ridge", "Stone", "Tower", "Umber", "Vale", "Wharf", "Yard", "Zinc", "Arch")
    rows = []
    for number, (first, second) in enumerate((first, second) for first in firsts for second in seconds):
        text = f"A tool for {first.lower()} of the kind {number}."
        if number % 3:
            text = (
                f"A tool for {first.lower()}, written by Ada {second} at {first} College in {1850 + number}. It runs."
            )
        rows.append({"title": f"{first} {second} System", "aliases": [f"{first[0]}{second[0]}S"], "text": text})
    (folder / "tools.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    about = {"tools.jsonl": {"origin": "the test's own tools", "licence": "CC0-1.0"}}
    (folder / "about.json").write_text(json.dumps(about), encoding="utf-8")
    return folder


@pytest.fixture(scope="module")
def entries_run(tmp_path_factory: pytest.TempPathFactory, entries: Path, export_command: Command) -> Path:
    run = tmp_path_factory.mktemp("runs") / "tools"
    export_command(*TRAIN, "--data", entries, "--out", run)
    return run


@pytest.fixture(scope="module")
def entries_bundle(tmp_path_factory: pytest.TempPathFactory, entries_run: Path, export_command: Command) -> Path:
    models = tmp_path_factory.mktemp("models")
    export_command("export", entries_run, "--out", models, "--name", "tools")
    return models / "tools" / "1"


@pytest.fixture
def rows(pairs: Path) -> list[dict[str, str]]:
    """Every fifth of them."""
    return list(csv.DictReader(pairs.read_text(encoding="utf-8").splitlines()))[::5]


@pytest.fixture(scope="module")
def shops_bundle(tmp_path_factory: pytest.TempPathFactory, pairs: Path, export_command: Command) -> Path:
    folder = tmp_path_factory.mktemp("shops")
    export_command(*TRAIN, "--data", pairs, "--out", folder / "run", "--epochs", 10)
    export_command("export", folder / "run", "--out", folder / "models", "--name", "shops")
    return folder / "models" / "shops" / "1"


async def test_two_hundred_pairs_become_served_answers(rows: list[dict[str, str]], shops_bundle: Path) -> None:
    manifest = read_bundle(shops_bundle).manifest
    assert [corpus.file for corpus in manifest.answer.corpora] == ["assets/shops.jsonl"]
    assert list(manifest.answer.kinds) == []
    assert manifest.licence == "LicenseRef-owner"
    async with await LocalModel.open(shops_bundle) as model:
        responses = [await model.answer(answer_pb2.AnswerQuestionRequest(question=row["question"])) for row in rows]
    found = [response.source.title == row["question"] for response, row in zip(responses, rows, strict=True)]
    assert np.mean(found) > 0.9
    said = [response.answers[0].text if response.answers else "" for response in responses]
    assert np.mean([word_f1(text, row["answer"]) for text, row in zip(said, rows, strict=True)]) > 0.5


def test_a_bundle_says_what_it_needs_to_and_was_proven(entries_bundle: Path) -> None:
    manifest = read_bundle(entries_bundle).manifest
    settings = manifest.answer
    assert [graph.role for graph in manifest.graphs] == ["reader", "writer"]
    for graph in manifest.graphs:
        assert 0 < graph.parity.onnx_max_abs_diff <= graph.parity.tolerance
        assert list(graph.parity.batch_sizes) == [1, 3, graph.max_batch_rows]
        assert graph.batch_invariance.exact
        assert graph.batch_invariance.batch_sizes[-1] == graph.max_batch_rows
    assert (settings.question_tokens, settings.passage_tokens, settings.answer_tokens) == (24, 64, 32)
    assert [(corpus.name, corpus.licence) for corpus in settings.corpora] == [("tools", "CC0-1.0")]
    assert list(settings.kinds) == ["what", "stands for", "who", "when", "where"]
    assert settings.answerable_scale > 0
    assert 0 < settings.answerable_threshold < 1
    assert manifest.training_data[0].origin == "the test's own tools"
    for name in ("answers.md", "questions.md"):
        assert (entries_bundle / "samples" / name).read_text(encoding="utf-8").startswith("# ")


async def test_what_is_served_is_what_was_trained(entries_run: Path, entries_bundle: Path, entries: Path) -> None:
    """The likeliest answer of the bundle is the one that the trained networks write."""
    config = build(AnswersConfig, {**read_toml(recipe_path("answers", "tiny")), "data": str(entries)})
    data = load_data(config)
    learner = AnswersLearner(Fabric(accelerator="cpu", devices=1), config, data.vocabulary)
    learner.modules()["best"].load_state_dict(read_checkpoint(entries_run)["best"])
    best = learner.modules()["best"].eval()
    from muserve_export.families.answers.networks.decoding import decode_greedily

    text = "Amber Quartz System (AQS): A tool for amber of the kind 0."
    question = data.codec.encode("What is Amber Quartz System?")
    passage = data.codec.encode(text)
    asked, read = torch.tensor([[*question.ids, END]]), torch.tensor([passage.ids])
    with torch.no_grad():
        reading = best.reader(asked, read)
        source = torch.cat([asked, read], dim=1)
        tokens = decode_greedily(best.writer, reading, source, torch.zeros(1, config.latent_size), config.answer_tokens)
    async with await LocalModel.open(entries_bundle) as model:
        model.bundle.manifest.answer.answerable_threshold = 0.0
        request = answer_pb2.AnswerQuestionRequest(question="What is Amber Quartz System?", context=text)
        response = await model.answer(request)
        recorded = await model.record(request)
    steps = [[int(token) for token in recorded[key][0]] for key in recorded if key.endswith("writer.out.tokens")]
    served = [next(token for token in tokens if token != END or step) for step, tokens in enumerate(steps)]
    assert served == tokens[0].tolist()
    assert float(recorded["0.reader.out.answerable"][0]) == pytest.approx(float(reading.answerable), abs=1e-4)
    assert response.answers


def test_a_run_resumes_exactly(tmp_path: Path, entries: Path, export_command: Command) -> None:
    flags = ("--data", entries, "--epochs", 2)
    export_command(*TRAIN, *flags, "--out", tmp_path / "whole")
    export_command(*TRAIN, *flags, "--out", tmp_path / "parts")
    (tmp_path / "parts" / "checkpoints" / "epoch-0002.ckpt").unlink()
    export_command(*TRAIN, *flags, "--out", tmp_path / "parts", "--resume")
    whole, parts = (read_checkpoint(tmp_path / name) for name in ("whole", "parts"))
    assert_same(whole["best"], parts["best"])
    assert_same(whole["critic"], parts["critic"])


def assert_same(first: Mapping[str, Any], second: Mapping[str, Any]) -> None:
    assert first.keys() == second.keys()
    assert all(torch.equal(first[name], second[name]) for name in first)


def learner_of(entries: Path, **values: Any) -> tuple[AnswersLearner, Any]:
    config = build(AnswersConfig, {**read_toml(recipe_path("answers", "tiny")), "data": str(entries), **values})
    data = load_data(config)
    return AnswersLearner(Fabric(accelerator="cpu", devices=1), config, data.vocabulary, data.validation), data


def test_the_adversary_joins_when_it_is_told_to(entries: Path) -> None:
    learner, data = learner_of(entries)
    torch.manual_seed(0)
    batch = tuple(data.training.batch(torch.arange(16)))
    critic = {name: value.clone() for name, value in learner.modules()["critic"].state_dict().items()}
    alone = learner.step(batch, 10, 100)
    assert (float(alone["adversarial_loss"]), float(alone["critic_loss"])) == (0.0, 0.0)
    assert_same(critic, learner.modules()["critic"].state_dict())
    judged = learner.step(batch, 60, 100)
    assert float(judged["adversarial_loss"]) > 0
    assert float(judged["critic_loss"]) > 0
    after = learner.modules()["critic"].state_dict()
    assert any(not torch.equal(critic[name], after[name]) for name in critic)


def test_learning_stops_when_validation_falls_and_the_best_is_kept(entries: Path) -> None:
    learner, data = learner_of(entries, validate_every_steps=1, patience=2, learning_rate=0.5)
    torch.manual_seed(0)
    batch = tuple(data.training.batch(torch.arange(16)))
    learner.step(batch, 1, 100)
    best = learner.modules()["best"]
    best.score.fill_(0.99)  # as if it had been good
    kept = {name: value.clone() for name, value in best.state_dict().items() if name.startswith(("reader", "writer"))}
    for step in range(60, 64):
        learner.step(batch, step, 100)
    now = best.state_dict()
    assert all(torch.equal(kept[name], now[name]) for name in kept)
    writer = {name: value.clone() for name, value in learner.modules()["writer"].state_dict().items()}
    stopped = learner.step(batch, 64, 100)
    assert float(stopped["likelihood_loss"]) == 0.0
    assert_same(writer, learner.modules()["writer"].state_dict())


def test_the_tutorial_is_a_number_and_nothing_serves_it(tmp_path: Path, entries: Path, export_command: Command) -> None:
    flags = ("--recipe", "tutorial", "--data", entries, "--epochs", 3)
    export_command("train", "answers", *flags, "--out", tmp_path / "run")
    export_command("export", tmp_path / "run", "--out", tmp_path / "models", "--name", "published")
    folder = tmp_path / "models" / "published" / "1"
    assert sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.*")) == [
        "MODEL_CARD.md", "graphs/generator.onnx", "graphs/generator.ts",
    ]  # fmt: skip
    weights = [value for network in make_networks() for value in network.parameters() if value.ndim == 2]
    assert [tuple(weight.shape[::-1]) for weight in weights] == [
        (100, 128), (128, 256), (256, 512), (512, 1024), (1024, 2048), (2048, 1),
        (1, 512), (512, 256), (256, 128), (128, 1),
    ]  # fmt: skip
    network = load_torchscript(folder / "graphs/generator.ts")
    assert network(torch.randn(3, 100)).shape == (3, 1)


@pytest.mark.parametrize("recipe", [name for name in recipe_names("answers") if name != "tutorial"])
def test_every_recipe_takes_a_real_step(entries: Path, recipe: str) -> None:
    values = {**read_toml(recipe_path("answers", recipe)), "data": str(entries), "rows_per_epoch": 8, "batch_size": 4}
    config = build(AnswersConfig, values)
    data = load_data(config)
    learner = AnswersLearner(Fabric(accelerator="cpu", devices=1), config, data.vocabulary)
    torch.manual_seed(0)
    losses = learner.step(tuple(data.training.batch(torch.arange(4))), 1, 100)
    assert all(torch.isfinite(value) for value in losses.values())
    if recipe == "mle":
        assert config.adversary_from == 1.0


def test_an_evaluation_measures_what_is_held_out(entries: Path, entries_bundle: Path, tmp_path: Path) -> None:
    metrics = evaluate_bundle(FAMILY, entries_bundle, data=str(entries), part="test", details=tmp_path / "all.csv")
    found = {metric.name: metric for metric in metrics}
    for name in ("f1_what_several", "f1_stands_for", "recall_at_1", "f1_from_corpus", "auroc_named", "made_up"):
        assert 0 <= found[name].value <= 1
        low, high = (other.value for other in found[name].others[-2:])
        assert low <= found[name].value <= high
    assert found["f1_what_several"].reference_name
    assert "right_in_other_words" not in found  # these are about the bundled corpus
    rows = list(csv.DictReader((tmp_path / "all.csv").read_text(encoding="utf-8").splitlines()))
    corpus = read_corpus(entries)
    train = {corpus.entries[index].title for index in ExampleMaker(corpus, "train").entries}
    asked = [row["question"] for row in rows if row["group"].startswith("context/what")]
    assert asked
    assert not any(title.lower() in question.lower() for title in train for question in asked)


def test_questions_to_measure_by_are_the_same_each_time(entries: Path) -> None:
    maker = ExampleMaker(read_corpus(entries), "test")
    first, again = answerable_questions(maker, 50), answerable_questions(maker, 50)
    assert first == again
    assert all(one.key in one.context for one in first)
    silent = unanswerable_questions(maker, 40)
    assert {one.group for one in silent} == {"named", "absent"}
    assert not any(one.example.answer for one in silent)


def test_the_questions_in_other_words_are_as_they_were_frozen() -> None:
    keyed, others = read_keyed("test"), read_keyed("validation")
    assert len(keyed) == 200
    assert len({one.question for one in (*keyed, *others)}) == 200 + len(others)
    assert is_right("A network protocol for mail.", (("protocol", "standard"), ("mail",)))
    assert not is_right("A protocol.", (("protocol",), ("mail",)))
    assert not is_right("", (("",),))
    assert not is_right("A committee.", (("MIT",),))
    assert is_right("The networks of MIT.", (("network",), ("MIT",)))


def test_two_bundles_are_compared_question_by_question(tmp_path: Path) -> None:
    first, second, other = (tmp_path / f"{name}.csv" for name in ("mle", "adversarial", "other"))
    rows = [("context/who", f"Who {index}?", index % 2, 1) for index in range(40)]
    for path, column in ((first, 2), (second, 3)):
        path.write_text("group,question,score\n" + "".join(f"{row[0]},{row[1]},{row[column]}\n" for row in rows))
        with path.open("a") as file:
            file.write(f"asked/who,What {path.stem} asks?,1\n")  # each bundle asks its own
    head, _, line = compare(first, second)
    assert all(f"{name}.csv" in head for name in ("mle", "adversarial"))
    cells = [cell.strip() for cell in line.strip("|").split("|")]
    assert cells[:4] == ["context/who (40)", "0.5000", "1.0000", "0.5000"]
    assert 0.3 < float(cells[4]) < 0.5 < float(cells[5]) < 0.7
    other.write_text("group,question,score\nwho,Who?,1\n")
    with pytest.raises(DataError, match="do not have the same questions"):
        compare(first, other)
    other.write_text("question\nWho?\n")
    with pytest.raises(DataError, match="lacks the columns group"):
        compare(first, other)


def test_scores_and_baselines() -> None:
    assert word_f1("The cat sat.", "a cat sat") == 1.0
    assert word_f1("cat", "dog") == 0.0
    assert word_f1("a red cat", "cat") == pytest.approx(2 / 3)
    assert token_f1s([[5, 6, 3, 0]], [[5, 7, 3, 0]]) == [0.5]
    text = "A lamp shines. A door of oak opens. It is old."
    assert first_sentence(text) == "A lamp shines."
    assert best_overlap("What is the oak door?", text) == "A door of oak opens."
    assert best_overlap("What is it?", text) == "A lamp shines."


def test_plain_bm25_finds_words(entries: Path) -> None:
    corpus = read_corpus(entries)
    found = Bm25(corpus).find("What is Cedar Wharf System?")
    assert corpus.entries[found].title == "Cedar Wharf System"
    assert Bm25(corpus).find("zzzz") == -1


def test_logits_are_turned_into_probabilities() -> None:
    random = np.random.default_rng(0)
    logits = random.normal(0, 3, 4000)
    labels = random.random(4000) < 1 / (1 + np.exp(-(0.5 * logits - 1)))
    scale, offset = fit_logistic(logits, labels)
    assert scale == pytest.approx(0.5, abs=0.06)
    assert offset == pytest.approx(-1, abs=0.15)
    none = np.where(logits > 0, 0.0, 1.0)  # as if only half of them had been asked
    assert fit_logistic(logits, labels, none) == pytest.approx(
        fit_logistic(logits[logits <= 0], labels[logits <= 0]), rel=1e-3
    )
    assert fit_logistic(logits, ~labels) == (1.0, 0.0)  # a reader that is always wrong is not turned round


def test_of_searches_as_little_is_weighed_and_read_as_costs_hardly_any_answer() -> None:
    oak, elm = Entry("oak", (), (), "A tree."), Entry("elm", (), (), "A tree too.")
    question = Question("What is oak?", oak, is_answered=True)
    first = Searched(question, [oak, elm], np.array([0.0, 7.0]), np.array([1.0, 0.75]))
    second = Searched(question, [elm, oak], np.array([0.0, 7.0]), np.array([1.0, 0.75]))
    # Where the first is right it suffices to read that alone, and the search need not count.
    assert choose_search([first] * 100) == (0.0, 0.9)
    # Where the second is, it must be read; one in a hundred may be lost.
    assert choose_search([second] * 100) == (0.0, 0.7)
    assert choose_search([*[first] * 99, second]) == (0.0, 0.9)
    # Where a far one reads better than the right one, either it is not read or the search counts as much.
    near = Searched(question, [elm, oak], np.array([0.0, 1.0]), np.array([1.0, 0.65]))
    far = Searched(question, [oak, elm], np.array([0.0, 1.0]), np.array([1.0, 0.65]))
    assert choose_search([*[near] * 50, *[far] * 60]) == (0.0, 0.9)
    closer = Searched(question, [oak, elm], np.array([0.0, 3.0]), np.array([1.0, 0.35]))
    needed = Searched(question, [elm, oak], np.array([0.0, 9.0]), np.array([1.0, 0.35]))
    assert choose_search([*[closer] * 50, *[needed] * 50]) == (8.0, 0.3)
