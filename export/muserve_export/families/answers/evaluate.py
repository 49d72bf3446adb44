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
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from muserve.v1 import answer_pb2
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.data import AnswersData
from muserve_export.families.answers.examples.maker import make_examples
from muserve_export.families.answers.measure.figures import mean_metric
from muserve_export.families.answers.measure.questions import (
    HeldOutQuestion,
    answerable_questions,
    unanswerable_questions,
)
from muserve_export.families.answers.measure.roundtrip import score_asking
from muserve_export.families.answers.measure.scores import (
    find_made_up,
    score_other_words,
    score_refusals,
    score_search,
    score_silence,
    score_with_context,
    score_writing,
)
from muserve_export.families.answers.measure.served import answer, details_row, gather_limited
from muserve_export.measuring import Figures
from muserve_server.model import LocalModel

__all__ = ["measure"]

_MAX_PER_KIND = 400
_SILENT = 400


def measure(folder: Path, config: AnswersConfig, data: AnswersData, part: str) -> Figures:  # noqa: ARG001
    """Measures a bundle on held-out entries.

    Args:
        folder: The bundle.
        config: What it was trained with.
        data: Entries to measure against.
        part: "validation" while choosing, "test" to report.

    Returns:
        The headlines; as details every question with its answer.

    Raises:
        DataError: There is nothing held out to measure by.
        BundleError: The bundle cannot be opened.
    """
    return asyncio.run(_measure(folder, data, part))


async def _measure(folder: Path, data: AnswersData, part: str) -> Figures:
    maker = make_examples(data.corpus, part)
    questions = answerable_questions(maker, _MAX_PER_KIND)
    unanswerable = unanswerable_questions(maker, _SILENT)
    rows: list[Mapping[str, object]] = []
    async with await LocalModel.open(folder) as model:

        async def ask_with_context(one: HeldOutQuestion) -> answer_pb2.AnswerQuestionResponse:
            return await answer(model, one.example.question, one.context)

        with_context = await gather_limited(questions, ask_with_context)
        silent_responses = await gather_limited(
            unanswerable, lambda one: answer(model, one.example.question, one.context)
        )
        metrics = score_with_context(questions, with_context, rows)
        metrics += score_writing(questions, with_context)
        metrics += score_silence(unanswerable, silent_responses, questions, with_context)
        metrics += score_refusals(silent_responses, with_context)
        rows += [
            details_row(f"silent/{one.group}", one.example.question, "", response, float(not response.is_answerable))
            for one, response in zip(unanswerable, silent_responses, strict=True)
        ]
        made_up = [find_made_up(questions, with_context)]
        if model.bundle.manifest.answer.corpora:
            from_corpus = await gather_limited(questions, lambda one: answer(model, one.example.question, None))
            named = [one for one in unanswerable if one.group == "named"]
            searched = await gather_limited(named, lambda one: answer(model, one.example.question, None))
            metrics += score_search(data, questions, from_corpus, rows)
            metrics += score_refusals(searched, from_corpus, "_from_corpus")
            made_up.append(find_made_up(questions, from_corpus))
        if (of_all := np.concatenate(made_up)).size:
            metrics.append(
                mean_metric("made_up", of_all, "share of answers with a word from nowhere, lower is better", {})
            )
        if not data.config.has_own_data:
            metrics.append(await score_other_words(model, part, rows))
        if model.bundle.manifest.answer.kinds:
            metrics += await score_asking(model, maker, rows)
    return Figures(metrics, rows)
