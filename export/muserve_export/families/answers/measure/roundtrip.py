"""Scores generated questions: by the bundle's own answers to them, and by overlap with reference questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise

import numpy as np
from sacrebleu.metrics.bleu import BLEU

from muserve.v1 import answer_pb2, manifest_pb2
from muserve_export.families.answers.examples.maker import ExampleMaker
from muserve_export.families.answers.measure.figures import SEED, mean_metric
from muserve_export.families.answers.measure.questions import HeldOutQuestion, answerable_questions, join_passages
from muserve_export.families.answers.measure.scoring import normalise, word_f1
from muserve_export.families.answers.measure.served import answer, answer_text, details_row, gather_limited
from muserve_export.measuring import make_metric
from muserve_server.model import LocalModel

__all__ = ["score_asking"]

_CONTEXTS = 100
_QUESTIONS_EACH = 5


async def score_asking(
    model: LocalModel, maker: ExampleMaker, rows: list[Mapping[str, object]]
) -> list[manifest_pb2.Metric]:
    """Generates questions about contexts of two or three entries, and answers them."""
    random = np.random.default_rng(SEED)
    contexts = [
        join_passages([maker.passage(int(index)) for index in random.choice(maker.entries, random.integers(2, 4))])
        for _ in range(_CONTEXTS)
    ]

    async def ask(context: str) -> answer_pb2.GenerateQuestionsResponse:
        request = answer_pb2.GenerateQuestionsRequest(context=context, count=_QUESTIONS_EACH, seed=0)
        response: answer_pb2.GenerateQuestionsResponse = await model.answer(request)
        return response

    asked = await gather_limited(contexts, ask)
    pairs = [(context, pair) for context, own in zip(contexts, asked, strict=True) for pair in own.pairs]
    if not pairs:
        return []
    again = await gather_limited(pairs, lambda one: answer(model, one[1].question, one[0]))
    scores = np.array(
        [word_f1(answer_text(response), pair.answer) for (_, pair), response in zip(pairs, again, strict=True)]
    )
    rows += [
        details_row(f"asked/{pair.kind}", pair.question, pair.answer, response, score)
        for (_, pair), response, score in zip(pairs, again, scores, strict=True)
    ]
    words = [normalise(pair.question) for _, pair in pairs]
    couples = [couple for own in words for couple in pairwise(own)]
    rejected = sum(own.rejected for own in asked)
    return [
        mean_metric("round_trip_f1", scores, f"answer F1; {len(contexts)} contexts; questions", {}),
        mean_metric(
            "round_trip_f1_with_rejected", np.concatenate([scores, np.zeros(rejected)]), "answer F1; questions", {}
        ),
        *_score_questions(await _ask_known(model, maker)),
        make_metric("distinct_2", len(set(couples)) / max(1, len(couples)), "share of word pairs"),
        make_metric(
            "questions_rejected",
            rejected / max(1, rejected + len(pairs)),
            "share of those written, since their answers were not found again",
        ),
    ]


async def _ask_known(model: LocalModel, maker: ExampleMaker) -> list[tuple[str, str]]:
    """Generates questions about entries with reference questions; returns pairs of the same kind, "" for none."""
    asked = [one for one in answerable_questions(maker, _CONTEXTS) if one.example.plain]

    async def ask(one: HeldOutQuestion) -> str:
        request = answer_pb2.GenerateQuestionsRequest(
            context=maker.passage(one.example.subject), count=_QUESTIONS_EACH, seed=0
        )
        response: answer_pb2.GenerateQuestionsResponse = await model.answer(request)
        return next((pair.question for pair in response.pairs if pair.kind == one.example.kind), "")

    return [(made, one.example.plain) for one, made in zip(asked, await gather_limited(asked, ask), strict=True)]


def _score_questions(pairs: Sequence[tuple[str, str]]) -> list[manifest_pb2.Metric]:
    """Returns BLEU-4 of questions in two tokenisations."""
    if not pairs:
        return []
    made, true = [pair[0] for pair in pairs], [pair[1] for pair in pairs]
    plain = BLEU()
    spaced = BLEU(tokenize="none", lowercase=True, smooth_method="none", force=True)
    apart = [[" ".join(_tokens(text)) for text in texts] for texts in (made, true)]
    score = plain.corpus_score(made, [true]).score  # before its signature, which counts the references
    unit = f"0 to 100; {plain.get_signature()}; {sum(map(bool, made))} of {len(pairs)} questions"
    return [
        make_metric("question_bleu", score, unit),
        make_metric(
            "question_bleu_tokenised",
            spaced.corpus_score(apart[0], [apart[1]]).score,
            "0 to 100; of words in small letters, as COCO's script",
        ),
    ]


def _tokens(text: str) -> list[str]:
    return text.lower().replace("?", " ?").replace(",", " ,").split()
