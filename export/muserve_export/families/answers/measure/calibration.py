"""Calibrates on validation questions: logits to probabilities, and the weight of the search score.

The probability is that of a right source: the passage is of the entry that is asked about, and answers the question.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from muserve_export.errors import DataError
from muserve_export.families.answers.data import AnswersData
from muserve_export.families.answers.examples.maker import MAX_PASSAGE_CHARACTERS, make_examples
from muserve_export.families.answers.examples.rows import pad_tokens
from muserve_export.families.answers.measure.questions import read_keyed
from muserve_export.families.answers.model import Reader
from muserve_server.tasks.answer.entries import Entry
from muserve_server.tasks.answer.library import index_entries, passages_of
from muserve_server.tasks.answer.passages import cut_entry
from muserve_server.tasks.answer.text import END

__all__ = ["Calibration", "Question", "Searched", "calibrate", "choose_search", "fit_logistic"]

_SEED = 5_000
_QUESTIONS, _SEARCHED = 600, 400
_PASSAGES_READ = 8
_ROWS_AT_ONCE = 64
_WEIGHTS = (0.0, 2.0, 4.0, 8.0, 12.0, 16.0, 24.0, 40.0)
_SHARES = (0.0, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9)
_HARDLY = 0.01
"""Of the questions."""
_MIN_LABELS = 10


@dataclass(frozen=True)
class Calibration:
    """Fitted parameters."""

    scale: float = 1.0
    """Factor of the logit."""
    offset: float = 0.0
    """Added to the scaled logit."""
    threshold: float = 0.5
    """Minimum probability to answer. Callers who need more certainty can use the probability in each response."""
    search_weight: float = 1.0
    """Weight of an entry's search score, relative to the best entry's, added to its logit."""
    min_share: float = 0.0
    """Minimum search score of an entry to be read, relative to the best entry's."""


@dataclass(frozen=True)
class Question:
    """A question to calibrate on."""

    text: str
    subject: Entry
    """The entry that it is about."""
    is_answered: bool
    """Whether that entry answers it."""
    weight: float = 1.0
    """Sample weight."""


def calibrate(reader: Reader, data: AnswersData) -> Calibration:
    """Calibrates on the validation part; returns the defaults if it is too small.

    Args:
        reader: In evaluation mode.
        data: The corpus. The bundled one has hand-written questions too, which get half of the weight of all answered
            questions that search it.
    """
    try:
        maker = make_examples(data.corpus, "validation")
    except DataError:
        return Calibration()
    random = np.random.default_rng(_SEED)
    examples = [maker.draw(random) for _ in range(_QUESTIONS)]
    named = [example for example in examples if example.position >= 0][:_SEARCHED]
    questions = _with_other_words(
        [Question(each.question, data.corpus.entries[each.subject], bool(each.answer)) for each in named], data
    )
    searched = _search(reader, data, questions)
    weight, share = choose_search(searched)
    # As they are searched, and as they are asked with a context: one scale is for both.
    logits = [one.logits[one.best(weight, share)] for one in searched]
    logits += [
        max(_read(reader, data, [(example.question, text) for text in example.passages])) for example in examples
    ]
    labels = np.array(
        [one.is_right(weight, share) for one in searched] + [bool(example.answer) for example in examples]
    )
    weights = np.array([one.question.weight for one in searched] + [1.0] * len(examples))
    if min(labels.sum(), (~labels).sum()) < _MIN_LABELS:
        return Calibration(search_weight=weight, min_share=share)
    scale, offset = fit_logistic(np.array(logits), labels, weights)
    return Calibration(scale, offset, search_weight=weight, min_share=share)


def _with_other_words(questions: list[Question], data: AnswersData) -> list[Question]:
    """Adds the hand-written questions, with half of the weight of all answered ones."""
    if data.config.data:
        return questions
    entries = {entry.title: entry for entry in data.corpus.entries}
    keyed = [one for one in read_keyed("validation") if one.entry in entries]
    if not keyed:
        return questions
    weight = 0.5 * sum(one.is_answered for one in questions) / len(keyed)
    return [
        *(replace(one, weight=0.5) if one.is_answered else one for one in questions),
        *(Question(one.question, entries[one.entry], is_answered=True, weight=weight) for one in keyed),
    ]


def fit_logistic(
    logits: NDArray[np.float64], labels: NDArray[np.bool_], weights: NDArray[np.float64] | None = None
) -> tuple[float, float]:
    """Fits scale and offset by logistic regression (Platt, 1999); (1, 0) if the fitted scale is negative.

    Args:
        logits: [question].
        labels: Whether each question has an answer, [question].
        weights: Sample weights, [question]; None for equal ones.
    """
    fitted = LogisticRegression().fit(logits[:, None], labels, sample_weight=weights)
    scale, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    return (scale, offset) if scale > 0 else (1.0, 0.0)


def _search(reader: Reader, data: AnswersData, questions: list[Question]) -> list[Searched]:
    """Searches the whole corpus for questions and scores the hits."""
    entries = data.corpus.entries
    index = index_entries(entries)
    found: list[Searched] = []
    for question in questions:
        hits = index.find(question.text, _PASSAGES_READ)
        passages, points = passages_of(
            hits, lambda number: cut_entry(entries[number], number, MAX_PASSAGE_CHARACTERS), _PASSAGES_READ
        )
        if passages:
            logits = _read(reader, data, [(hits.question, passage.text) for passage in passages])
            own = [entries[passage.entry] for passage in passages]
            found.append(Searched(question, own, np.array(logits), np.array(points)))
    return found


def choose_search(searched: list[Searched]) -> tuple[float, float]:
    """Chooses search_weight and min_share among the pairs whose accuracy is within 1 % of the best.

    The smallest weight, since reading tells two entries of one name apart; and with it the largest share, since what is
    not read costs no time.
    """
    right = {pair: _count_right(searched, *pair) for pair in itertools.product(_WEIGHTS, _SHARES)}
    enough = max(right.values()) - _HARDLY * sum(one.question.weight for one in searched)
    return min((pair for pair, count in right.items() if count >= enough), key=lambda pair: (pair[0], -pair[1]))


def _count_right(searched: list[Searched], weight: float, share: float) -> float:
    return sum(one.question.weight * one.is_right(weight, share) for one in searched)


@dataclass(frozen=True)
class Searched:
    """Search hits of a question."""

    question: Question
    """The question."""
    entries: list[Entry]
    """The entry of each passage, best first."""
    logits: NDArray[np.float64]
    """The reader's answerable logit of each passage, [passage]."""
    shares: NDArray[np.float64]
    """Search score of its entry, relative to the best, [passage]."""

    def best(self, weight: float, share: float) -> int:
        """Returns the index of the passage that is answered from."""
        points = self.logits + weight * self.shares
        return int(np.where(self.shares >= share, points, -np.inf).argmax())

    def is_right(self, weight: float, share: float) -> bool:
        """Returns whether that passage answers the question."""
        found = self.entries[self.best(weight, share)]
        return self.question.is_answered and (found.names, found.text) == (
            self.question.subject.names, self.question.subject.text,
        )  # fmt: skip


def _read(reader: Reader, data: AnswersData, pairs: list[tuple[str, str]]) -> list[float]:
    """Returns the answerable logits of pairs of question and passage."""
    logits: list[float] = []
    for first in range(0, len(pairs), _ROWS_AT_ONCE):
        part = pairs[first : first + _ROWS_AT_ONCE]
        questions = [(*data.codec.encode(question).cut(data.config.question_tokens).ids, END) for question, _ in part]
        passage_ids = [data.codec.encode(passage).cut(data.config.passage_tokens).ids for _, passage in part]
        with torch.no_grad():
            logits += reader(pad_tokens(questions), pad_tokens(passage_ids)).answerable.tolist()
    return logits
