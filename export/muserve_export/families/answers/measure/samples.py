"""Sample pages of a bundle: held-out questions with their answers, and generated questions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from muserve.v1 import answer_pb2
from muserve_export.errors import DataError
from muserve_export.families.answers.data import AnswersData
from muserve_export.families.answers.examples.maker import ExampleMaker, make_examples
from muserve_export.families.answers.measure.questions import HeldOutQuestion, answerable_questions
from muserve_server.model import LocalModel

__all__ = ["draw_samples"]

_SEED = 8_000
_SHOWN = 50
"""Maximum number of answers, and of generated questions."""
_CELL = str.maketrans({"|": "\\|", "\n": " "})


async def draw_samples(model: LocalModel, data: AnswersData) -> Mapping[str, bytes]:
    """Answers held-out questions and generates questions about held-out entries, both chosen by seed."""
    kind = "held-out"
    try:
        maker = make_examples(data.corpus, "test")
    except DataError:
        kind, maker = "training", make_examples(data.corpus, "train")
    questions = answerable_questions(maker, 10_000)
    random = np.random.default_rng(_SEED)
    chosen = [questions[index] for index in random.permutation(len(questions))[:_SHOWN]]
    pages = {"answers.md": await _answer(model, chosen, kind)}
    if model.bundle.manifest.answer.kinds:
        entries = [int(index) for index in random.choice(maker.entries, _SHOWN)]
        pages["questions.md"] = await _ask(model, maker, entries, kind)
    return {name: page.encode() for name, page in pages.items()}


async def _answer(model: LocalModel, questions: list[HeldOutQuestion], kind: str) -> str:
    rows = []
    for one in questions:
        request = answer_pb2.AnswerQuestionRequest(question=one.example.question, seed=0)
        if not model.bundle.manifest.answer.corpora:
            request.context = one.context
        response: answer_pb2.AnswerQuestionResponse = await model.answer(request)
        text = response.answers[0].text if response.answers else "(not answerable)"
        rows.append((one.example.question, text, one.example.answer, response.source.title))
    return _table(f"{kind.capitalize()} questions, chosen by seed", ("question", "answer", "expected", "read"), rows)


async def _ask(model: LocalModel, maker: ExampleMaker, entries: list[int], kind: str) -> str:
    rows: list[tuple[str, ...]] = []
    for index in entries:
        if len(rows) >= _SHOWN:
            break
        passage = maker.passage(index)
        request = answer_pb2.GenerateQuestionsRequest(context=passage, count=3, seed=0)
        response: answer_pb2.GenerateQuestionsResponse = await model.answer(request)
        rows += [(pair.question, pair.answer, f"{passage[:120]}…") for pair in response.pairs]
    return _table(f"Questions about {kind} entries, chosen by seed", ("question", "answer", "context"), rows[:_SHOWN])


def _table(title: str, columns: tuple[str, ...], rows: Sequence[tuple[str, ...]]) -> str:
    lines = [f"# {title}", "", _line(columns), _line(("---",) * len(columns)), *map(_line, rows)]
    return "\n".join(lines) + "\n"


def _line(cells: tuple[str, ...]) -> str:
    return "| " + " | ".join(cell.translate(_CELL) for cell in cells) + " |"
