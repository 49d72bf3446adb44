"""Fits, on validation questions, what turns logits into a probability, and what the search's rank is worth.

The probability is that what is answered from is right: that it is the entry that is asked about, and says it.
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
from muserve_export.families.answers.examples.maker import MOST_CHARACTERS, make_examples
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
    least_share: float = 0.0
    """Of the best entry's points, that an entry must have to be read at all."""


@dataclass(frozen=True)
class Question:
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
    if min(labels.sum(), (~labels).sum()) < _FEWEST:
        return Calibration(search_weight=weight, least_share=share)
    scale, offset = fit_logistic(np.array(logits), labels, weights)
    return Calibration(scale, offset, search_weight=weight, least_share=share)


def _with_other_words(questions: list[Question], data: AnswersData) -> list[Question]:
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
        *(Question(one.question, entries[one.entry], is_answered=True, weight=weight) for one in keyed),
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


def _search(reader: Reader, data: AnswersData, questions: list[Question]) -> list[Searched]:
    """Searches the whole corpus for questions, and reads what is found."""
    entries = data.corpus.entries
    index = index_entries(entries)
    found: list[Searched] = []
    for question in questions:
        hits = index.find(question.text, _PASSAGES_READ)
        passages, points = passages_of(
            hits, lambda number: cut_entry(entries[number], number, MOST_CHARACTERS), _PASSAGES_READ
        )
        if passages:
            logits = _read(reader, data, [(hits.question, passage.text) for passage in passages])
            own = [entries[passage.entry] for passage in passages]
            found.append(Searched(question, own, np.array(logits), np.array(points)))
    return found


def choose_search(searched: list[Searched]) -> tuple[float, float]:
    """Chooses search_weight and least_share among the pairs that are hardly worse than the best.

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
    """What was found for a question."""

    question: Question
    """What was asked."""
    entries: list[Entry]
    """The entry of each passage, the likeliest first."""
    logits: NDArray[np.float64]
    """What the reader gave each passage, [passage]."""
    shares: NDArray[np.float64]
    """What the search gave its entry, of the best one's points, [passage]."""

    def best(self, weight: float, share: float) -> int:
        """Which passage is answered from."""
        points = self.logits + weight * self.shares
        return int(np.where(self.shares >= share, points, -np.inf).argmax())

    def is_right(self, weight: float, share: float) -> bool:
        """Whether that answers the question."""
        found = self.entries[self.best(weight, share)]
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
