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

from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.data import AnswersData
from muserve_export.families.answers.examples.maker import make_examples
from muserve_export.families.answers.measure.figures import mean_metric
from muserve_export.families.answers.measure.questions import questions_of, silent_questions_of
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
from muserve_export.families.answers.measure.served import answer, details_of, each_of
from muserve_export.measuring import Figures
from muserve_server.model import LocalModel

__all__ = ["measure"]

_MOST_OF_A_KIND = 400
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
    asked = questions_of(maker, _MOST_OF_A_KIND)
    silent = silent_questions_of(maker, _SILENT)
    rows: list[Mapping[str, object]] = []
    async with await LocalModel.open(folder) as model:
        with_context = await each_of(asked, lambda one: answer(model, one.example.question, one.context))
        without = await each_of(silent, lambda one: answer(model, one.example.question, one.context))
        found = score_with_context(asked, with_context, rows)
        found += score_writing(asked, with_context)
        found += score_silence(silent, without, asked, with_context)
        found += score_refusals(without, with_context)
        rows += [
            details_of(f"silent/{one.group}", one.example.question, "", said, float(not said.is_answerable))
            for one, said in zip(silent, without, strict=True)
        ]
        made_up = [find_made_up(asked, with_context)]
        if model.bundle.manifest.answer.corpora:
            from_corpus = await each_of(asked, lambda one: answer(model, one.example.question, None))
            named = [one for one in silent if one.group == "named"]
            searched = await each_of(named, lambda one: answer(model, one.example.question, None))
            found += score_search(data, asked, from_corpus, rows)
            found += score_refusals(searched, from_corpus, "_from_corpus")
            made_up.append(find_made_up(asked, from_corpus))
        if (of_all := np.concatenate(made_up)).size:
            found.append(
                mean_metric("made_up", of_all, "share of answers with a word from nowhere, lower is better", {})
            )
        if not data.config.has_own_data:
            found.append(await score_other_words(model, part, rows))
        if model.bundle.manifest.answer.kinds:
            found += await score_asking(model, maker, rows)
    return Figures(found, rows)
