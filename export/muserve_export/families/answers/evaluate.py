"""Measures an answers bundle on held-out entries, through the code that serves it, beside what needs no learning.

Figures, most with their 95 % interval by bootstrap over questions:
- f1_*: with a context of one to four entries. Of a definition the F1 of the sentence, beside copies:
  the context's first sentence; that with most of the question's words; title and first sentence of the entry
  whose heading has most of them. Of all else the F1 of the evidence against the true one; f1_sentence_* is that of the
  sentence.
- recall_at_1, f1_from_corpus: without a context, the right entry and the sentence; beside plain BM25 and its entry's
  first sentence.
- right_in_other_words: share of the 200 questions of `questions.jsonl` whose answers, from the corpus, say their keys.
- auroc_named, auroc_absent: how well the answerable score tells answered questions from those that name an entry which
  does not answer, and from those whose entry is not there; each within one kind of question, so that the kind tells
  nothing, and as a mean over the kinds, weighted by questions without an answer.
- kept_silent, wrongly_silent: at the bundle's own threshold; _from_corpus: of questions that name an entry, searched.
- made_up: share of answers, with a context and from the corpus, with a word that neither passage nor question has.
- round_trip_f1: of questions asked from contexts of two or three entries, the F1 of the answer that the whole context
  gives to them again; _with_rejected: those that the model left out itself count as 0.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Awaitable, Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sklearn.metrics import roc_auc_score

from muserve.bundle import read_bundle
from muserve.configuration import build
from muserve.v1 import answer_pb2, manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.answers.asked import (
    Asked,
    is_right,
    joined,
    questions_of,
    read_keyed,
    silent_questions_of,
)
from muserve_export.families.answers.baselines import Bm25, best_overlap, first_sentence, named_sentence
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.data import AnswersData, load_data
from muserve_export.families.answers.examples import ExampleMaker, make_examples
from muserve_export.families.answers.scoring import normalise, word_f1
from muserve_server.local import LocalModel
from muserve_server.tasks.answer.entries import Entry

__all__ = ["evaluate_answers"]

_MOST_OF_A_KIND = 400
_SILENT = 400
_CONTEXTS = 100
_QUESTIONS_EACH = 5
_AT_ONCE = 16
_RESAMPLED = 1000
_SEED = 7_000
# Words that a sentence needs and no passage must have.
_FUNCTION_WORDS = frozenset(("is", "was", "of", "in", "on", "at", "by", "to", "from", "for", "stands", "that"))

Item = TypeVar("Item")
Result = TypeVar("Result")


def evaluate_answers(
    folder: Path, *, data: str | None = None, part: str = "test", details: Path | None = None
) -> list[manifest_pb2.Metric]:
    """Measures a bundle on held-out entries.

    Args:
        folder: The bundle.
        data: Data to measure against, as `AnswersConfig.data`; None takes what the bundle was trained on.
        part: "validation" while choosing, "test" to report.
        details: Where to write every question with its answer, as CSV.

    Raises:
        DataError: There is nothing held out to measure by.
        BundleError: The bundle cannot be opened.
    """
    own = _load(folder, data)
    return asyncio.run(_measure(folder, own, part, details))


def _load(folder: Path, data: str | None) -> AnswersData:
    training = read_bundle(folder).manifest.training
    if data is None and training.get("data"):
        raise DataError(f"{folder} was not trained on the bundled data; name its data: --data {training['data']}")
    loaded = load_data(build(AnswersConfig, {"data": data or ""}))
    if data is None and loaded.corpus.sha256 != training.get("data_sha256"):
        raise DataError(f"{folder} was trained on other data; which of its entries are held out cannot be known")
    return loaded


async def _measure(folder: Path, data: AnswersData, part: str, details: Path | None) -> list[manifest_pb2.Metric]:
    maker = make_examples(data.corpus, part)
    asked = questions_of(maker, _MOST_OF_A_KIND)
    silent = silent_questions_of(maker, _SILENT)
    rows: list[Mapping[str, object]] = []
    async with await LocalModel.open(folder) as model:
        with_context = await _each(asked, lambda one: _answer(model, one.example.question, one.context))
        without = await _each(silent, lambda one: _answer(model, one.example.question, one.context))
        found = _score_with_context(asked, with_context, rows)
        found += _score_writing(asked, with_context)
        found += _score_silence(silent, without, asked, with_context)
        found += _score_refusals(without, with_context)
        rows += [
            _row(f"silent/{one.group}", one.example.question, "", said, float(not said.is_answerable))
            for one, said in zip(silent, without, strict=True)
        ]
        made_up = [_made_up(asked, with_context)]
        if model.bundle.manifest.answer.corpora:
            from_corpus = await _each(asked, lambda one: _answer(model, one.example.question, None))
            named = [one for one in silent if one.group == "named"]
            searched = await _each(named, lambda one: _answer(model, one.example.question, None))
            found += _score_search(data, asked, from_corpus, rows)
            found += _score_refusals(searched, from_corpus, "_from_corpus")
            made_up.append(_made_up(asked, from_corpus))
        if (of_all := np.concatenate(made_up)).size:
            found.append(_metric("made_up", of_all, "share of answers with a word from nowhere, lower is better", {}))
        if part == "test" and not data.config.data:
            found.append(await _score_other_words(model, rows))
        if model.bundle.manifest.answer.kinds:
            found += await _score_asking(model, maker, rows)
    if details:
        _write_details(details, rows)
    return found


async def _answer(model: LocalModel, question: str, context: str | None) -> answer_pb2.AnswerQuestionResponse:
    request = answer_pb2.AnswerQuestionRequest(question=question, seed=0)
    if context is not None:
        request.context = context
    response: answer_pb2.AnswerQuestionResponse = await model.answer(request)
    return response


async def _each(items: Sequence[Item], do: Callable[[Item], Awaitable[Result]]) -> list[Result]:
    """Does something for each item, some at a time."""
    gate = asyncio.Semaphore(_AT_ONCE)

    async def one(item: Item) -> Result:
        async with gate:
            return await do(item)

    return list(await asyncio.gather(*map(one, items)))


def _said(response: answer_pb2.AnswerQuestionResponse) -> str:
    return response.answers[0].text if response.answers else ""


def _evidence(response: answer_pb2.AnswerQuestionResponse) -> str:
    return response.answers[0].evidence.text if response.answers else ""


def _score_with_context(
    asked: Sequence[Asked], responses: Sequence[Any], rows: list[Mapping[str, object]]
) -> list[manifest_pb2.Metric]:
    found = []
    for group in dict.fromkeys(one.group for one in asked):
        chosen = [(one, said) for one, said in zip(asked, responses, strict=True) if one.group == group]
        sentence = np.array([word_f1(_said(said), one.example.answer) for one, said in chosen])
        copied = {
            "its first sentence": np.array(
                [word_f1(first_sentence(one.context), one.example.answer) for one, _ in chosen]
            ),
            "its sentence with most of the question's words": np.array(
                [word_f1(best_overlap(one.example.question, one.context), one.example.answer) for one, _ in chosen]
            ),
            "the named entry's first sentence": np.array(
                [
                    word_f1(named_sentence(one.example.question, one.example.passages), one.example.answer)
                    for one, _ in chosen
                ]
            ),
        }
        if group.startswith(("what", "pairs")):
            found.append(_metric(f"f1_{group}", sentence, "sentence F1", copied))
        else:
            evidence = np.array([word_f1(_evidence(said), one.key) for one, said in chosen])
            found.append(_metric(f"f1_{group}", evidence, "evidence F1", {}))
            found.append(_metric(f"f1_sentence_{group}", sentence, "sentence F1", copied))
        rows += [
            _row(f"context/{group}", one.example.question, one.example.answer, said, score)
            for (one, said), score in zip(chosen, sentence, strict=True)
        ]
    return found


def _score_writing(asked: Sequence[Asked], responses: Sequence[Any]) -> list[manifest_pb2.Metric]:
    """BLEU and ROUGE-L of all sentences with a context."""
    wanted = [one.example.answer for one in asked]
    said = [_said(response) for response in responses]
    copied = [best_overlap(one.example.question, one.context) for one in asked]
    beside = "the sentence with most of the question's words"
    bleu = BLEU()
    score, reference = (bleu.corpus_score(texts, [wanted]).score for texts in (said, copied))
    metric = manifest_pb2.Metric(
        name="bleu", value=score, unit=f"0 to 100; {bleu.get_signature()}", reference=reference, reference_name=beside
    )
    scorer = RougeScorer(["rougeL"])
    rouge = np.array([scorer.score(true, made)["rougeL"].fmeasure for true, made in zip(wanted, said, strict=True)])
    other = np.array([scorer.score(true, made)["rougeL"].fmeasure for true, made in zip(wanted, copied, strict=True)])
    return [metric, _metric("rouge_l", rouge, "F1", {beside: other})]


def _score_silence(
    silent: Sequence[Asked], without: Sequence[Any], asked: Sequence[Asked], answered: Sequence[Any]
) -> list[manifest_pb2.Metric]:
    found = []
    known = [(one.example.kind, response.answerable) for one, response in zip(asked, answered, strict=True)]
    for group in ("named", "absent"):
        unknown = [
            (one.example.kind, said.answerable) for one, said in zip(silent, without, strict=True) if one.group == group
        ]
        kinds = sorted({kind for kind, _ in known} & {kind for kind, _ in unknown})
        if not kinds:
            continue
        scores = {
            kind: tuple(np.array([score for own, score in part if own == kind]) for part in (known, unknown))
            for kind in kinds
        }
        random = np.random.default_rng(_SEED)
        drawn = [
            _auroc(
                {kind: (random.choice(yes, len(yes)), random.choice(no, len(no))) for kind, (yes, no) in scores.items()}
            )
            for _ in range(_RESAMPLED)
        ]
        metric = manifest_pb2.Metric(
            name=f"auroc_{group}", value=_auroc(scores), reference=0.5, reference_name="chance",
            unit=f"0.5 to 1, higher is better; {len(unknown)} without an answer, within {len(kinds)} kinds",
        )  # fmt: skip
        low, high = np.quantile(drawn, [0.025, 0.975])
        found.append(_with_interval(metric, float(low), float(high)))
    return found


def _auroc(scores: Mapping[str, tuple[NDArray[np.float64], ...]]) -> float:
    """Mean over kinds of how likely an answered question has more than one without an answer."""
    each = [
        roc_auc_score([*np.ones(len(yes)), *np.zeros(len(no))], np.concatenate([yes, no]))
        for yes, no in scores.values()
    ]
    return float(np.average(each, weights=[len(no) for _, no in scores.values()]))


def _score_refusals(silent: Sequence[Any], answered: Sequence[Any], ending: str = "") -> list[manifest_pb2.Metric]:
    found = []
    for name, responses, unit in (
        (f"kept_silent{ending}", silent, "share of questions without an answer"),
        (f"wrongly_silent{ending}", answered, "share of questions with an answer, lower is better"),
    ):
        if responses:
            values = np.array([float(not response.is_answerable) for response in responses])
            found.append(_metric(name, values, unit, {}))
    return found


def _made_up(asked: Sequence[Asked], responses: Sequence[Any]) -> NDArray[np.float64]:
    """Of each answer, whether it has a word from nowhere: [answer]."""
    made_up = []
    for one, response in zip(asked, responses, strict=True):
        if response.answers:
            evidence = _evidence(response)
            read = [text for text in one.example.passages if evidence in text] if not response.source.text else []
            known = set(normalise(" ".join([*read[:1], response.source.text, one.example.question]))) | _FUNCTION_WORDS
            made_up.append(float(any(word not in known for word in normalise(_said(response)))))
    return np.array(made_up)


def _score_search(
    data: AnswersData, asked: Sequence[Asked], responses: Sequence[Any], rows: list[Mapping[str, object]]
) -> list[manifest_pb2.Metric]:
    entries = data.corpus.entries
    plain = Bm25(data.corpus)
    hits, plain_hits, scores, plain_scores = [], [], [], []
    for one, response in zip(asked, responses, strict=True):
        subject = entries[one.example.subject]
        hits.append(float(_is_of(response.source, subject)))
        best = plain.find(one.example.question)
        found = entries[best] if best >= 0 else None
        plain_hits.append(float(found is not None and (found.title or found.text) == (subject.title or subject.text)))
        scores.append(word_f1(_said(response), one.example.answer))
        plain_scores.append(word_f1(first_sentence(entries[best].context) if best >= 0 else "", one.example.answer))
        rows.append(_row(f"corpus/{one.group}", one.example.question, one.example.answer, response, scores[-1]))
    return [
        _metric("recall_at_1", np.array(hits), "share of questions", {"plain BM25": np.array(plain_hits)}),
        _metric(
            "f1_from_corpus", np.array(scores), "sentence F1", {"plain BM25's first sentence": np.array(plain_scores)}
        ),
    ]


def _is_of(source: answer_pb2.Source, entry: Entry) -> bool:
    """Whether a passage is of an entry: by its title, or where there is none by its text."""
    return bool(source.text) and source.title == entry.title and (bool(entry.title) or source.text in entry.text)


async def _score_other_words(model: LocalModel, rows: list[Mapping[str, object]]) -> manifest_pb2.Metric:
    keyed = read_keyed()
    responses = await _each(keyed, lambda one: _answer(model, one.question, None))
    right = [float(is_right(_said(response), one.keys)) for one, response in zip(keyed, responses, strict=True)]
    rows += [
        _row(f"other words/{one.kind}", one.question, f"{one.entry}: {one.keys}", response, score)
        for one, response, score in zip(keyed, responses, right, strict=True)
    ]
    return _metric("right_in_other_words", np.array(right), "share of questions", {})


async def _score_asking(
    model: LocalModel, maker: ExampleMaker, rows: list[Mapping[str, object]]
) -> list[manifest_pb2.Metric]:
    """Asks about contexts of two or three entries, and asks the questions again."""
    random = np.random.default_rng(_SEED)
    contexts = [
        joined([maker.passage(int(index)) for index in random.choice(maker.entries, random.integers(2, 4))])
        for _ in range(_CONTEXTS)
    ]

    async def ask(context: str) -> answer_pb2.GenerateQuestionsResponse:
        request = answer_pb2.GenerateQuestionsRequest(context=context, count=_QUESTIONS_EACH, seed=0)
        response: answer_pb2.GenerateQuestionsResponse = await model.answer(request)
        return response

    asked = await _each(contexts, ask)
    pairs = [(context, pair) for context, own in zip(contexts, asked, strict=True) for pair in own.pairs]
    if not pairs:
        return []
    again = await _each(pairs, lambda one: _answer(model, one[1].question, one[0]))
    scores = np.array([word_f1(_said(said), pair.answer) for (_, pair), said in zip(pairs, again, strict=True)])
    rows += [
        _row(f"asked/{pair.kind}", pair.question, pair.answer, said, score)
        for (_, pair), said, score in zip(pairs, again, scores, strict=True)
    ]
    words = [normalise(pair.question) for _, pair in pairs]
    couples = [couple for own in words for couple in pairwise(own)]
    rejected = sum(own.rejected for own in asked)
    return [
        _metric("round_trip_f1", scores, f"answer F1; {len(contexts)} contexts; questions", {}),
        _metric(
            "round_trip_f1_with_rejected", np.concatenate([scores, np.zeros(rejected)]), "answer F1; questions", {}
        ),
        *_score_questions(await _ask_known(model, maker)),
        manifest_pb2.Metric(
            name="distinct_2", value=len(set(couples)) / max(1, len(couples)), unit="share of word pairs"
        ),
        manifest_pb2.Metric(
            name="questions_rejected", value=rejected / max(1, rejected + len(pairs)),
            unit="share of those written, since their answers were not found again",
        ),
    ]  # fmt: skip


async def _ask_known(model: LocalModel, maker: ExampleMaker) -> list[tuple[str, str]]:
    """Asks about entries of which questions are known; returns that of the same kind, or "", with the known one."""
    asked = [one for one in questions_of(maker, _CONTEXTS) if one.example.plain]

    async def ask(one: Asked) -> str:
        request = answer_pb2.GenerateQuestionsRequest(
            context=maker.passage(one.example.subject), count=_QUESTIONS_EACH, seed=0
        )
        response: answer_pb2.GenerateQuestionsResponse = await model.answer(request)
        return next((pair.question for pair in response.pairs if pair.kind == one.example.kind), "")

    return [(made, one.example.plain) for one, made in zip(asked, await _each(asked, ask), strict=True)]


def _score_questions(pairs: Sequence[tuple[str, str]]) -> list[manifest_pb2.Metric]:
    """BLEU-4 of questions in both conventions."""
    if not pairs:
        return []
    made, true = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    plain = BLEU()
    spaced = BLEU(tokenize="none", lowercase=True, smooth_method="none", force=True)
    apart = [[" ".join(_tokens(text)) for text in texts] for texts in (made, true)]
    return [
        manifest_pb2.Metric(
            name="question_bleu", value=plain.corpus_score(made, [true]).score,
            unit=f"0 to 100; {plain.get_signature()}; {sum(map(bool, made))} of {len(pairs)} questions",
        ),
        manifest_pb2.Metric(
            name="question_bleu_tokenised", value=spaced.corpus_score(apart[0], [apart[1]]).score,
            unit="0 to 100; of words in small letters, as COCO's script",
        ),
    ]  # fmt: skip


def _tokens(text: str) -> list[str]:
    return text.lower().replace("?", " ?").replace(",", " ,").split()


def _metric(
    name: str, values: NDArray[np.float64], unit: str, beside: Mapping[str, NDArray[np.float64]]
) -> manifest_pb2.Metric:
    """A mean with its interval, and the same of others; the best of them is the reference."""
    low, high = _bootstrap(len(values), lambda rows: float(values[rows].mean()))
    metric = manifest_pb2.Metric(name=name, value=float(values.mean()), unit=f"{unit}; {len(values)}")
    others = sorted(((float(own.mean()), label) for label, own in beside.items()), reverse=True)
    if others:
        metric.reference, metric.reference_name = others[0]
    metric.others.extend(manifest_pb2.MetricReference(name=label, value=value) for value, label in others[1:])
    return _with_interval(metric, low, high)


def _with_interval(metric: manifest_pb2.Metric, low: float, high: float) -> manifest_pb2.Metric:
    metric.others.add(name="95 % from", value=low)
    metric.others.add(name="to", value=high)
    return metric


def _bootstrap(count: int, figure: Callable[[NDArray[np.int64]], float]) -> tuple[float, float]:
    random = np.random.default_rng(_SEED)
    drawn = [figure(random.integers(count, size=count)) for _ in range(_RESAMPLED)]
    low, high = np.quantile(drawn, [0.025, 0.975])
    return float(low), float(high)


def _row(group: str, question: str, wanted: str, response: Any, score: float) -> Mapping[str, object]:
    return {
        "group": group, "question": question, "wanted": wanted, "said": _said(response),
        "evidence": _evidence(response), "source": response.source.title, "answerable": f"{response.answerable:.3f}",
        "score": f"{score:.3f}",
    }  # fmt: skip


def _write_details(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
