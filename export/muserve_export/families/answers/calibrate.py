"""Fits, on validation questions, what turns logits into a probability, and what the search's rank is worth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from muserve_export.errors import DataError
from muserve_export.families.answers.data import AnswersData
from muserve_export.families.answers.examples import MOST_CHARACTERS, Example, make_examples
from muserve_export.families.answers.model import Reader
from muserve_export.families.answers.rows import pad_tokens
from muserve_server.tasks.answer.library import index_entries, passages_of
from muserve_server.tasks.answer.passages import cut_entry
from muserve_server.tasks.answer.text import END

__all__ = ["Calibration", "calibrate", "fit_logistic"]

_SEED = 5_000
_QUESTIONS, _SEARCHED = 600, 400
_PASSAGES_READ = 8
_ROWS_AT_ONCE = 64
_WEIGHTS = (0.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 40.0)
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
        maker = make_examples(data.corpus, "validation")
    except DataError:
        return Calibration()
    random = np.random.default_rng(_SEED)
    examples = [maker.draw(random) for _ in range(_QUESTIONS)]
    weight, logits, answered = _search(reader, data, examples)
    # As they are asked with a context, and as they are searched: one threshold is for both.
    logits += [
        max(_read(reader, data, [(example.question, text) for text in example.passages])) for example in examples
    ]
    answered += [bool(example.answer) for example in examples]
    labels = np.array(answered)
    if min(labels.sum(), (~labels).sum()) < _FEWEST:
        return Calibration(search_weight=weight)
    scale, offset = fit_logistic(np.array(logits), labels)
    probabilities = 1 / (1 + np.exp(-(scale * np.array(logits) + offset)))
    return Calibration(scale, offset, _best_threshold(probabilities, labels), weight)


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


def _search(reader: Reader, data: AnswersData, examples: list[Example]) -> tuple[float, list[float], list[bool]]:
    """Searches the whole corpus for what examples ask.

    Returns:
        The weight with which the right entry comes first most often; and of the questions that name an entry the logit
        of what then comes first, and whether they have an answer.
    """
    entries = data.corpus.entries
    index = index_entries(entries)
    found: list[_Searched] = []
    for example in [example for example in examples if example.position >= 0][:_SEARCHED]:
        hits = index.find(example.question, _PASSAGES_READ)
        passages, points = passages_of(
            hits, lambda number: cut_entry(entries[number], number, MOST_CHARACTERS), _PASSAGES_READ
        )
        if passages:
            logits = _read(reader, data, [(hits.question, passage.text) for passage in passages])
            own = [passage.entry for passage in passages]
            found.append(_Searched(example, own, np.array(logits), np.array(points)))
    right = [sum(one.entries[one.best(weight)] == one.example.subject for one in found) for weight in _WEIGHTS]
    weight = _WEIGHTS[int(np.argmax(right))]
    return weight, [float(one.logits[one.best(weight)]) for one in found], [bool(one.example.answer) for one in found]


@dataclass(frozen=True)
class _Searched:
    """What was found for a question."""

    example: Example
    entries: list[int]
    logits: NDArray[np.float64]
    shares: NDArray[np.float64]

    def best(self, weight: float) -> int:
        return int((self.logits + weight * self.shares).argmax())


def _read(reader: Reader, data: AnswersData, pairs: list[tuple[str, str]]) -> list[float]:
    """Logits of whether passages answer questions."""
    logits: list[float] = []
    for first in range(0, len(pairs), _ROWS_AT_ONCE):
        part = pairs[first : first + _ROWS_AT_ONCE]
        asked = [(*data.codec.encode(question).cut(data.config.question_tokens).ids, END) for question, _ in part]
        read = [data.codec.encode(passage).cut(data.config.passage_tokens).ids for _, passage in part]
        with torch.no_grad():
            logits += reader(pad_tokens(asked), pad_tokens(read)).answerable.tolist()
    return logits
