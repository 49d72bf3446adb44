"""Fits, on validation questions, what turns logits into a probability, and what the search's rank is worth.

The probability is that what is answered from is right: that it is the entry that is asked about, and says it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from muserve_export.errors import DataError
from muserve_export.families.answers.asked import read_keyed
from muserve_export.families.answers.data import AnswersData
from muserve_export.families.answers.examples import MOST_CHARACTERS, make_examples
from muserve_export.families.answers.model import Reader
from muserve_export.families.answers.rows import pad_tokens
from muserve_server.tasks.answer.entries import Entry
from muserve_server.tasks.answer.library import index_entries, passages_of
from muserve_server.tasks.answer.passages import cut_entry
from muserve_server.tasks.answer.text import END

__all__ = ["Calibration", "calibrate", "fit_logistic"]

_SEED = 5_000
_QUESTIONS, _SEARCHED = 600, 400
_PASSAGES_READ = 8
_ROWS_AT_ONCE = 64
_WEIGHTS = (0.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 40.0)
_HARDLY = 0.01
"""Of the questions."""
_FEWEST = 10


@dataclass(frozen=True)
class Calibration:
    """What was fitted."""

    scale: float = 1.0
    """Of the logit."""
    offset: float = 0.0
    """Added to it."""
    threshold: float = 0.5
    """From which probability on an answer is given: where it is likelier right than wrong. Who wants to be surer can
    look at the probability, which comes with each answer."""
    search_weight: float = 1.0
    """Of an entry's share of the best entry's points, added to its logit."""


@dataclass(frozen=True)
class _Question:
    """What is asked to calibrate by."""

    text: str
    subject: Entry
    """The entry that it is about."""
    is_answered: bool
    """Whether that answers it."""
    weight: float = 1.0
    """How much it counts."""


def calibrate(reader: Reader, data: AnswersData) -> Calibration:
    """Fits on the validation part; without one that is large enough, nothing is changed.

    Args:
        reader: In evaluation mode.
        data: Its corpus. To the bundled one belong questions in people's own words: of those for which the corpus is
            searched they are half of all that have an answer.
    """
    try:
        maker = make_examples(data.corpus, "validation")
    except DataError:
        return Calibration()
    random = np.random.default_rng(_SEED)
    examples = [maker.draw(random) for _ in range(_QUESTIONS)]
    named = [example for example in examples if example.position >= 0][:_SEARCHED]
    questions = _with_other_words(
        [_Question(each.question, data.corpus.entries[each.subject], bool(each.answer)) for each in named], data
    )
    weight, searched = _search(reader, data, questions)
    # As they are searched, and as they are asked with a context: one scale is for both.
    logits = [one.logits[one.best(weight)] for one in searched]
    logits += [
        max(_read(reader, data, [(example.question, text) for text in example.passages])) for example in examples
    ]
    labels = np.array([one.is_right(weight) for one in searched] + [bool(example.answer) for example in examples])
    weights = np.array([one.question.weight for one in searched] + [1.0] * len(examples))
    if min(labels.sum(), (~labels).sum()) < _FEWEST:
        return Calibration(search_weight=weight)
    scale, offset = fit_logistic(np.array(logits), labels, weights)
    return Calibration(scale, offset, search_weight=weight)


def _with_other_words(questions: list[_Question], data: AnswersData) -> list[_Question]:
    """Adds the questions in people's own words, with half of the weight of all that have an answer."""
    if data.config.data:
        return questions
    entries = {entry.title: entry for entry in data.corpus.entries}
    keyed = [one for one in read_keyed("validation") if one.entry in entries]
    if not keyed:
        return questions
    weight = 0.5 * sum(one.is_answered for one in questions) / len(keyed)
    return [
        *(replace(one, weight=0.5) if one.is_answered else one for one in questions),
        *(_Question(one.question, entries[one.entry], is_answered=True, weight=weight) for one in keyed),
    ]


def fit_logistic(
    logits: NDArray[np.float64], labels: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """Fits scale and offset by likelihood (Platt, 1999); a reader that is rather wrong is left as it is.

    Args:
        logits: [question].
        labels: Whether each has an answer, [question].
        weights: How much each counts, [question]; None for all alike.
    """
    fitted = LogisticRegression().fit(logits[:, None], labels, sample_weight=weights)
    scale, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return (scale, offset) if scale > 0 else (1.0, 0.0)


def _search(reader: Reader, data: AnswersData, questions: list[_Question]) -> tuple[float, list[_Searched]]:
    """Searches the whole corpus for questions.

    Returns:
        The smallest weight with which the right entry comes first about as often as it can, and what was found.
    """
    entries = data.corpus.entries
    index = index_entries(entries)
    found: list[_Searched] = []
    for question in questions:
        hits = index.find(question.text, _PASSAGES_READ)
        passages, points = passages_of(
            hits, lambda number: cut_entry(entries[number], number, MOST_CHARACTERS), _PASSAGES_READ
        )
        if passages:
            logits = _read(reader, data, [(hits.question, passage.text) for passage in passages])
            own = [entries[passage.entry] for passage in passages]
            found.append(_Searched(question, own, np.array(logits), np.array(points)))
    right = [sum(one.question.weight * one.is_right(weight) for one in found) for weight in _WEIGHTS]
    # Of weights that are hardly worse than the best the smallest: two entries of one name are told apart by reading.
    enough = max(right) - _HARDLY * sum(one.question.weight for one in found)
    return next(weight for weight, count in zip(_WEIGHTS, right, strict=True) if count >= enough), found


@dataclass(frozen=True)
class _Searched:
    """What was found for a question."""

    question: _Question
    entries: list[Entry]
    logits: NDArray[np.float64]
    shares: NDArray[np.float64]

    def best(self, weight: float) -> int:
        """Which passage is answered from."""
        return int((self.logits + weight * self.shares).argmax())

    def is_right(self, weight: float) -> bool:
        """Whether that answers the question."""
        found = self.entries[self.best(weight)]
        return self.question.is_answered and (found.names, found.text) == (
            self.question.subject.names, self.question.subject.text,
        )  # fmt: skip


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
