"""Fits, on validation questions, what turns logits into a probability, and what the search's rank is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from muserve_export.errors import DataError
from muserve_export.families.answers.data import AnswersData
from muserve_export.families.answers.examples import MOST_CHARACTERS, Example, ExampleMaker
from muserve_export.families.answers.model import Reader
from muserve_server.tasks.answer.passages import cut_entry
from muserve_server.tasks.answer.search import Document, Index
from muserve_server.tasks.answer.text import END, PADDING

__all__ = ["Calibration", "calibrate", "fit_logistic"]

_SEED = 5_000
_QUESTIONS, _SEARCHED = 600, 200
_PASSAGES_READ = 8
_ROWS_AT_ONCE = 64
_WEIGHTS = (0.0, 1.0, 2.0, 3.0, 4.0, 6.0, 8.0, 12.0)
_FEWEST = 10


@dataclass(frozen=True)
class Calibration:
    """What was fitted."""

    scale: float = 1.0
    """Of the logit."""
    offset: float = 0.0
    """Added to it."""
    threshold: float = 0.5
    """From which probability on an answer is given."""
    search_weight: float = 1.0
    """Of an entry's share of the best entry's points, added to its logit."""


def calibrate(reader: Reader, data: AnswersData) -> Calibration:
    """Fits on the validation part; without one that is large enough, nothing is changed.

    Args:
        reader: In evaluation mode.
        data: Its corpus.
    """
    try:
        maker = ExampleMaker(data.corpus, "validation")
    except DataError:
        return Calibration()
    random = np.random.default_rng(_SEED)
    examples = [maker.draw(random) for _ in range(_QUESTIONS)]
    answered = np.array([bool(example.answer) for example in examples])
    if min(answered.sum(), (~answered).sum()) < _FEWEST:
        return Calibration(search_weight=_weigh_search(reader, data, examples))
    logits = np.array([max(_read(reader, data, [(example.question, text) for text in example.passages]))
                       if example.passages else -10.0 for example in examples])  # fmt: skip
    scale, offset = fit_logistic(logits, answered)
    probabilities = 1 / (1 + np.exp(-(scale * logits + offset)))
    threshold = _best_threshold(probabilities, answered)
    return Calibration(scale, offset, threshold, _weigh_search(reader, data, examples))


def fit_logistic(logits: NDArray[np.float64], labels: NDArray[np.bool_]) -> tuple[float, float]:
    """Fits scale and offset by likelihood (Platt, 1999); a reader that is rather wrong is left as it is.

    Args:
        logits: [question].
        labels: Whether each has an answer, [question].
    """
    fitted = LogisticRegression().fit(logits[:, None], labels)
    scale, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return (scale, offset) if scale > 0 else (1.0, 0.0)


def _best_threshold(probabilities: NDArray[np.float64], answered: NDArray[np.bool_]) -> float:
    """Where as many as can be of both kinds are told apart: the mean of the two shares is highest."""
    candidates = np.round(np.arange(0.1, 0.91, 0.02), 2)
    balanced = [
        ((probabilities >= each)[answered].mean() + (probabilities < each)[~answered].mean()) / 2 for each in candidates
    ]
    return float(candidates[int(np.argmax(balanced))])


def _weigh_search(reader: Reader, data: AnswersData, examples: list[Example]) -> float:
    """Chooses the weight by how often the right entry comes first, out of the whole corpus."""
    entries = data.corpus.entries
    index = Index([Document(tuple(name for name in entry.names if name), entry.text) for entry in entries])
    right = np.zeros(len(_WEIGHTS))
    for example in [example for example in examples if example.answer][:_SEARCHED]:
        found = index.find(example.question, _PASSAGES_READ)
        passages, points = [], []
        for number, share in zip(found.documents, found.points, strict=True):
            for passage in cut_entry(entries[number], number, MOST_CHARACTERS):
                passages.append(passage)
                points.append(share)
        passages, points = passages[:_PASSAGES_READ], points[:_PASSAGES_READ]
        if not passages:
            continue
        logits = np.array(_read(reader, data, [(found.question, passage.text) for passage in passages]))
        for position, weight in enumerate(_WEIGHTS):
            best = passages[int((logits + weight * np.array(points)).argmax())]
            right[position] += best.entry == example.subject
    return _WEIGHTS[int(right.argmax())]


def _read(reader: Reader, data: AnswersData, pairs: list[tuple[str, str]]) -> list[float]:
    """Logits of whether passages answer questions."""
    logits: list[float] = []
    for first in range(0, len(pairs), _ROWS_AT_ONCE):
        part = pairs[first : first + _ROWS_AT_ONCE]
        asked = [(*data.codec.encode(question).cut(data.config.question_tokens).ids, END) for question, _ in part]
        read = [data.codec.encode(passage).cut(data.config.passage_tokens).ids for _, passage in part]
        with torch.no_grad():
            logits += reader(_pad(asked), _pad(read)).answerable.tolist()
    return logits


def _pad(rows: list[tuple[int, ...]]) -> torch.Tensor:
    length = max(1, *map(len, rows), 1)
    return torch.tensor([[*row, *[PADDING] * (length - len(row))] for row in rows])
