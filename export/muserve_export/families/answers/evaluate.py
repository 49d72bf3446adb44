"""Measures an answers bundle on held-out entries, through the code that serves it, beside what needs no learning.

Figures, most with their 95 % interval by bootstrap over questions:
- f1_*: with a context of one to four entries. Of a definition the F1 of the sentence, beside copies:
  the context's first sentence; that with most of the question's words; title and first sentence of the entry
  whose heading has most of them. Of all else the F1 of the evidence against the true one; f1_sentence_* is that of the
  sentence.
- recall_at_1, f1_from_corpus: without a context, the right entry and the sentence; beside plain BM25 and its entry's
  first sentence.
- right_in_other_words: share of the questions in people's own words whose answers, from the corpus, say their keys.
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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sklearn.metrics import roc_auc_score

from muserve.bundle import read_bundle
from muserve.configuration import build
from muserve.v1 import answer_pb2, manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.data import AnswersData, load_data
from muserve_export.families.answers.examples.maker import make_examples
from muserve_export.families.answers.measure.baselines import Bm25, best_overlap, first_sentence, named_sentence
from muserve_export.families.answers.measure.figures import RESAMPLED, SEED, mean_metric, with_interval
from muserve_export.families.answers.measure.questions import (
    Asked,
    is_right,
    questions_of,
    read_keyed,
    silent_questions_of,
)
from muserve_export.families.answers.measure.roundtrip import score_asking
from muserve_export.families.answers.measure.scoring import normalise, word_f1
from muserve_export.families.answers.measure.served import answer, details_of, each_of, evidence_of, said_by
from muserve_server.model import LocalModel
from muserve_server.tasks.answer.entries import Entry

__all__ = ["evaluate_answers"]

_MOST_OF_A_KIND = 400
_SILENT = 400
# Words that a sentence needs and no passage must have.
_FUNCTION_WORDS = frozenset(("is", "was", "of", "in", "on", "at", "by", "to", "from", "for", "stands", "that"))


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
        with_context = await each_of(asked, lambda one: answer(model, one.example.question, one.context))
        without = await each_of(silent, lambda one: answer(model, one.example.question, one.context))
        found = _score_with_context(asked, with_context, rows)
        found += _score_writing(asked, with_context)
        found += _score_silence(silent, without, asked, with_context)
        found += _score_refusals(without, with_context)
        rows += [
            details_of(f"silent/{one.group}", one.example.question, "", said, float(not said.is_answerable))
            for one, said in zip(silent, without, strict=True)
        ]
        made_up = [_made_up(asked, with_context)]
        if model.bundle.manifest.answer.corpora:
            from_corpus = await each_of(asked, lambda one: answer(model, one.example.question, None))
            named = [one for one in silent if one.group == "named"]
            searched = await each_of(named, lambda one: answer(model, one.example.question, None))
            found += _score_search(data, asked, from_corpus, rows)
            found += _score_refusals(searched, from_corpus, "_from_corpus")
            made_up.append(_made_up(asked, from_corpus))
        if (of_all := np.concatenate(made_up)).size:
            found.append(
                mean_metric("made_up", of_all, "share of answers with a word from nowhere, lower is better", {})
            )
        if not data.config.data:
            found.append(await _score_other_words(model, part, rows))
        if model.bundle.manifest.answer.kinds:
            found += await score_asking(model, maker, rows)
    if details:
        _write_details(details, rows)
    return found


def _score_with_context(
    asked: Sequence[Asked], responses: Sequence[Any], rows: list[Mapping[str, object]]
) -> list[manifest_pb2.Metric]:
    found = []
    for group in dict.fromkeys(one.group for one in asked):
        chosen = [(one, said) for one, said in zip(asked, responses, strict=True) if one.group == group]
        sentence = np.array([word_f1(said_by(said), one.example.answer) for one, said in chosen])
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
            found.append(mean_metric(f"f1_{group}", sentence, "sentence F1", copied))
        else:
            evidence = np.array([word_f1(evidence_of(said), one.key) for one, said in chosen])
            found.append(mean_metric(f"f1_{group}", evidence, "evidence F1", {}))
            found.append(mean_metric(f"f1_sentence_{group}", sentence, "sentence F1", copied))
        rows += [
            details_of(f"context/{group}", one.example.question, one.example.answer, said, score)
            for (one, said), score in zip(chosen, sentence, strict=True)
        ]
    return found


def _score_writing(asked: Sequence[Asked], responses: Sequence[Any]) -> list[manifest_pb2.Metric]:
    """BLEU and ROUGE-L of all sentences with a context."""
    wanted = [one.example.answer for one in asked]
    said = [said_by(response) for response in responses]
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
    return [metric, mean_metric("rouge_l", rouge, "F1", {beside: other})]


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
        random = np.random.default_rng(SEED)
        drawn = [
            _auroc(
                {kind: (random.choice(yes, len(yes)), random.choice(no, len(no))) for kind, (yes, no) in scores.items()}
            )
            for _ in range(RESAMPLED)
        ]
        metric = manifest_pb2.Metric(
            name=f"auroc_{group}", value=_auroc(scores), reference=0.5, reference_name="chance",
            unit=f"0.5 to 1, higher is better; {len(unknown)} without an answer, within {len(kinds)} kinds",
        )  # fmt: skip
        low, high = np.quantile(drawn, [0.025, 0.975])
        found.append(with_interval(metric, float(low), float(high)))
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
            found.append(mean_metric(name, values, unit, {}))
    return found


def _made_up(asked: Sequence[Asked], responses: Sequence[Any]) -> NDArray[np.float64]:
    """Of each answer, whether it has a word from nowhere: [answer]."""
    made_up = []
    for one, response in zip(asked, responses, strict=True):
        if response.answers:
            evidence = evidence_of(response)
            read = [text for text in one.example.passages if evidence in text] if not response.source.text else []
            known = set(normalise(" ".join([*read[:1], response.source.text, one.example.question]))) | _FUNCTION_WORDS
            made_up.append(float(any(word not in known for word in normalise(said_by(response)))))
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
        scores.append(word_f1(said_by(response), one.example.answer))
        plain_scores.append(word_f1(first_sentence(entries[best].context) if best >= 0 else "", one.example.answer))
        rows.append(details_of(f"corpus/{one.group}", one.example.question, one.example.answer, response, scores[-1]))
    return [
        mean_metric("recall_at_1", np.array(hits), "share of questions", {"plain BM25": np.array(plain_hits)}),
        mean_metric(
            "f1_from_corpus", np.array(scores), "sentence F1", {"plain BM25's first sentence": np.array(plain_scores)}
        ),
    ]


def _is_of(source: answer_pb2.Source, entry: Entry) -> bool:
    """Whether a passage is of an entry: by its title, or where there is none by its text."""
    return bool(source.text) and source.title == entry.title and (bool(entry.title) or source.text in entry.text)


async def _score_other_words(model: LocalModel, part: str, rows: list[Mapping[str, object]]) -> manifest_pb2.Metric:
    keyed = read_keyed(part)
    responses = await each_of(keyed, lambda one: answer(model, one.question, None))
    right = [float(is_right(said_by(response), one.keys)) for one, response in zip(keyed, responses, strict=True)]
    rows += [
        details_of(f"other words/{one.kind}", one.question, f"{one.entry}: {one.keys}", response, score)
        for one, response, score in zip(keyed, responses, right, strict=True)
    ]
    return mean_metric("right_in_other_words", np.array(right), "share of questions", {})


def _write_details(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
