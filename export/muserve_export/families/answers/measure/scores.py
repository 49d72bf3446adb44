"""Scores of answers: with a context, from the corpus, and to unanswerable questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rouge_score.rouge_scorer import RougeScorer
from sacrebleu.metrics.bleu import BLEU
from sklearn.metrics import roc_auc_score

from muserve.v1 import answer_pb2, manifest_pb2
from muserve_export.families.answers.data import AnswersData
from muserve_export.families.answers.measure.baselines import Bm25, best_overlap, first_sentence, named_sentence
from muserve_export.families.answers.measure.figures import RESAMPLED, SEED, mean_metric
from muserve_export.families.answers.measure.questions import HeldOutQuestion, is_right, read_keyed
from muserve_export.families.answers.measure.scoring import normalise, word_f1
from muserve_export.families.answers.measure.served import (
    answer,
    answer_text,
    details_row,
    evidence_text,
    gather_limited,
)
from muserve_export.measuring import make_metric
from muserve_server.model import LocalModel
from muserve_server.tasks.answer.entries import Entry

__all__ = [
    "find_made_up",
    "score_other_words",
    "score_refusals",
    "score_search",
    "score_silence",
    "score_with_context",
    "score_writing",
]

# Words that a sentence needs and no passage must have.
_FUNCTION_WORDS = frozenset(("is", "was", "of", "in", "on", "at", "by", "to", "from", "for", "stands", "that"))


def score_with_context(
    asked: Sequence[HeldOutQuestion], responses: Sequence[Any], rows: list[Mapping[str, object]]
) -> list[manifest_pb2.Metric]:
    """Scores answers with a context by kind of question, beside sentences copied from it; adds a row for each.

    Args:
        asked: The questions.
        responses: The answer to each.
        rows: The details, to which rows are added.
    """
    found = []
    for group in dict.fromkeys(one.group for one in asked):
        chosen = [(one, said) for one, said in zip(asked, responses, strict=True) if one.group == group]
        sentence = np.array([word_f1(answer_text(said), one.example.answer) for one, said in chosen])
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
            evidence = np.array([word_f1(evidence_text(said), one.key) for one, said in chosen])
            found.append(mean_metric(f"f1_{group}", evidence, "evidence F1", {}))
            found.append(mean_metric(f"f1_sentence_{group}", sentence, "sentence F1", copied))
        rows += [
            details_row(f"context/{group}", one.example.question, one.example.answer, said, score)
            for (one, said), score in zip(chosen, sentence, strict=True)
        ]
    return found


def score_writing(asked: Sequence[HeldOutQuestion], responses: Sequence[Any]) -> list[manifest_pb2.Metric]:
    """Returns BLEU and ROUGE-L of the answers with a context."""
    wanted = [one.example.answer for one in asked]
    said = [answer_text(response) for response in responses]
    copied = [best_overlap(one.example.question, one.context) for one in asked]
    beside = "the sentence with most of the question's words"
    bleu = BLEU()
    score, reference = (bleu.corpus_score(texts, [wanted]).score for texts in (said, copied))
    metric = make_metric("bleu", score, f"0 to 100; {bleu.get_signature()}", {beside: reference})
    scorer = RougeScorer(["rougeL"])
    rouge = np.array([scorer.score(true, made)["rougeL"].fmeasure for true, made in zip(wanted, said, strict=True)])
    other = np.array([scorer.score(true, made)["rougeL"].fmeasure for true, made in zip(wanted, copied, strict=True)])
    return [metric, mean_metric("rouge_l", rouge, "F1", {beside: other})]


def score_silence(
    silent: Sequence[HeldOutQuestion], without: Sequence[Any], asked: Sequence[HeldOutQuestion], answered: Sequence[Any]
) -> list[manifest_pb2.Metric]:
    """Scores how well `answerable` separates answered questions from those without an answer.

    Args:
        silent: Questions without an answer.
        without: The response to each of them.
        asked: Questions with an answer.
        answered: The response to each of them.
    """
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
        low, high = np.quantile(drawn, [0.025, 0.975])
        unit = f"0.5 to 1, higher is better; {len(unknown)} without an answer, within {len(kinds)} kinds"
        interval = (float(low), float(high))
        found.append(make_metric(f"auroc_{group}", _auroc(scores), unit, {"chance": 0.5}, interval=interval))
    return found


def _auroc(scores: Mapping[str, tuple[NDArray[np.float64], ...]]) -> float:
    """Returns the mean AUROC over kinds of question, weighted by unanswerable ones."""
    each = [
        roc_auc_score([*np.ones(len(yes)), *np.zeros(len(no))], np.concatenate([yes, no]))
        for yes, no in scores.values()
    ]
    return float(np.average(each, weights=[len(no) for _, no in scores.values()]))


def score_refusals(silent: Sequence[Any], answered: Sequence[Any], ending: str = "") -> list[manifest_pb2.Metric]:
    """Counts refusals at the bundle's own threshold: the right ones and the wrong ones.

    Args:
        silent: Responses to questions without an answer.
        answered: Responses to questions with an answer.
        ending: Appended to the figures' names.
    """
    found = []
    for name, responses, unit in (
        (f"kept_silent{ending}", silent, "share of questions without an answer"),
        (f"wrongly_silent{ending}", answered, "share of questions with an answer, lower is better"),
    ):
        if responses:
            values = np.array([float(not response.is_answerable) for response in responses])
            found.append(mean_metric(name, values, unit, {}))
    return found


def find_made_up(asked: Sequence[HeldOutQuestion], responses: Sequence[Any]) -> NDArray[np.float64]:
    """Returns for each answer whether it has a word that neither passage nor question has: [answer]."""
    made_up = []
    for one, response in zip(asked, responses, strict=True):
        if response.answers:
            evidence = evidence_text(response)
            read = [text for text in one.example.passages if evidence in text] if not response.source.text else []
            known = set(normalise(" ".join([*read[:1], response.source.text, one.example.question]))) | _FUNCTION_WORDS
            made_up.append(float(any(word not in known for word in normalise(answer_text(response)))))
    return np.array(made_up)


def score_search(
    data: AnswersData, asked: Sequence[HeldOutQuestion], responses: Sequence[Any], rows: list[Mapping[str, object]]
) -> list[manifest_pb2.Metric]:
    """Scores answers from the corpus beside plain BM25; adds a row for each."""
    entries = data.corpus.entries
    plain = Bm25(data.corpus)
    hits, plain_hits, scores, plain_scores = [], [], [], []
    for one, response in zip(asked, responses, strict=True):
        subject = entries[one.example.subject]
        hits.append(float(_is_of(response.source, subject)))
        best = plain.find(one.example.question)
        found = entries[best] if best >= 0 else None
        plain_hits.append(float(found is not None and (found.title or found.text) == (subject.title or subject.text)))
        scores.append(word_f1(answer_text(response), one.example.answer))
        plain_scores.append(word_f1(first_sentence(entries[best].context) if best >= 0 else "", one.example.answer))
        rows.append(details_row(f"corpus/{one.group}", one.example.question, one.example.answer, response, scores[-1]))
    return [
        mean_metric("recall_at_1", np.array(hits), "share of questions", {"plain BM25": np.array(plain_hits)}),
        mean_metric(
            "f1_from_corpus", np.array(scores), "sentence F1", {"plain BM25's first sentence": np.array(plain_scores)}
        ),
    ]


def _is_of(source: answer_pb2.Source, entry: Entry) -> bool:
    """Returns whether a passage is of an entry: by its title, or by its text if it has none."""
    return bool(source.text) and source.title == entry.title and (bool(entry.title) or source.text in entry.text)


async def score_other_words(model: LocalModel, part: str, rows: list[Mapping[str, object]]) -> manifest_pb2.Metric:
    """Asks the questions in people's own words and scores the answers by their keys; adds a row for each."""
    keyed = read_keyed(part)
    responses = await gather_limited(keyed, lambda one: answer(model, one.question, None))
    right = [float(is_right(answer_text(response), one.keys)) for one, response in zip(keyed, responses, strict=True)]
    rows += [
        details_row(f"other words/{one.kind}", one.question, f"{one.entry}: {one.keys}", response, score)
        for one, response, score in zip(keyed, responses, right, strict=True)
    ]
    return mean_metric("right_in_other_words", np.array(right), "share of questions", {})
