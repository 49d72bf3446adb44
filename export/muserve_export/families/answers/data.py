"""Training data: rows sampled at each step from the entries of the training part."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from muserve_export.errors import DataError
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.corpus.collection import collect_answers as collect
from muserve_export.families.answers.corpus.corpus import DEFAULT, Corpus, read_corpus
from muserve_export.families.answers.corpus.parts import PARTS, part_of_entry
from muserve_export.families.answers.corpus.vocabulary import learn_vocabulary
from muserve_export.families.answers.examples.maker import Example, ExampleMaker, make_examples
from muserve_export.families.answers.examples.rows import Batch, Row, make_row, pad_rows
from muserve_export.families.answers.examples.wordings import BEFORE, FRAMES, WORDINGS
from muserve_server.tasks.answer.span_reader import ask_tokens
from muserve_server.tasks.answer.text import BEGIN, TextCodec, Tokens

__all__ = ["AnswersData", "RowSet", "collect", "load_data"]

_VALIDATION_SEED = 4_000
_MAX_DRAWS = 20
_REMEMBERED = 2**15
_BATCHES_DRAWN = 3
"""Number of batches that are drawn together and sorted by length; one of them is used, so that little is padding."""
_OTHER_PASSAGE = 0.3
"""Fraction of the answered questions that are paired with a passage that does not answer them."""


@dataclass(frozen=True)
class AnswersData:
    """A corpus with its vocabulary."""

    corpus: Corpus
    """Entries, and the questions that they answer."""
    config: AnswersConfig
    """Settings of the run."""

    @property
    def sha256(self) -> str:
        """Digest of the corpus, by which its entries are assigned to parts."""
        return self.corpus.sha256

    @property
    def split(self) -> str:
        """Description of the split, for the manifest."""
        counts = Counter(part_of_entry(entry, is_paired=bool(self.corpus.pairs)) for entry in self.corpus.entries)
        return (
            ", ".join(f"{counts[part]:,} {part}" for part in PARTS)
            + "; by title, or by answer in pairs of question and answer"
        )

    @cached_property
    def vocabulary(self) -> str:
        """The tokenizer as JSON, learnt from the training part."""
        maker = ExampleMaker(self.corpus, "train")
        texts = [maker.passage(index) for index in maker.entries]
        texts += [pair.question for pair in maker.pairs] + [pair.answer for pair in maker.pairs]
        # The words of questions and answers, as often as entries have them.
        wordings = [wording for own in (*WORDINGS.values(), FRAMES, BEFORE) for wording in own]
        if self.corpus.triples:  # pairs are asked in their own words
            texts += [re.sub(r"\{\w+\}", "", wording) for wording in wordings] * 2
        return learn_vocabulary(texts, self.config.vocabulary_size)

    @cached_property
    def codec(self) -> TextCodec:
        """The tokenizer."""
        return TextCodec(self.vocabulary)

    @cached_property
    def training(self) -> RowSet:
        """Rows of the training part."""
        return RowSet(make_examples(self.corpus, "train"), self.codec, self.config)

    @cached_property
    def validation(self) -> Batch:
        """Answered questions for validation; from the training part if nothing is held out."""
        try:
            rows = RowSet(make_examples(self.corpus, "validation"), self.codec, self.config)
        except DataError:
            rows = self.training
        return rows.answered(self.config.validation_rows, _VALIDATION_SEED)


class RowSet:
    """Rows of one part; see `training.loop.TrainingSet`."""

    def __init__(self, maker: ExampleMaker, codec: TextCodec, config: AnswersConfig) -> None:
        """Stores its parts."""
        self._maker = maker
        self._codec = codec
        self._config = config
        self._encode = lru_cache(maxsize=_REMEMBERED)(codec.encode)

    def __len__(self) -> int:
        return self._config.rows_per_epoch

    def batch(self, indices: Tensor) -> Batch:
        """Samples rows by torch's random state. Passages of a batch have similar lengths, to save padding.

        Args:
            indices: int64 [item]; how many.
        """
        random = np.random.default_rng(int(torch.randint(2**62, ())))
        count = len(indices)
        rows = sorted((self._draw(random) for _ in range(_BATCHES_DRAWN * count)), key=lambda row: len(row.passage))
        first = count * int(random.integers(_BATCHES_DRAWN))
        return pad_rows(rows[first : first + count])

    def answered(self, count: int, seed: int) -> Batch:
        """Samples rows of questions with an answer.

        Args:
            count: How many.
            seed: Which.
        """
        random = np.random.default_rng(seed)
        rows: list[Row] = []
        for _ in range(_MAX_DRAWS * count):
            row = self._draw(random)
            if row.answer and row.question[0] != BEGIN:
                rows.append(row)
            if len(rows) == count:
                break
        return pad_rows(rows)

    def _draw(self, random: np.random.Generator) -> Row:
        """Pairs a question with the passage that answers it, or with another one that does not."""
        example = self._maker.draw(random)
        others = [index for index in range(len(example.passages)) if index != example.position]
        is_other = example.position < 0 or (others and random.random() < _OTHER_PASSAGE)
        position = others[int(random.integers(len(others)))] if is_other else example.position
        asks = example.kind in WORDINGS and random.random() < self._config.ask_share
        if asks and not is_other:  # what another passage says is not known
            # What an entry does not say cannot be asked of it either.
            wanted = (example.plain or example.question) if example.answer else ""
            return self._row(ask_tokens(self._codec, example.kind), example, position, wanted)
        question = self._codec.encode(example.question).cut(self._config.question_tokens)
        return self._row(question, example, position, "" if is_other else example.answer)

    def _row(self, question: Tokens, example: Example, position: int, answer: str) -> Row:
        passage = self._encode(example.passages[position]).cut(self._config.passage_tokens)
        evidence = (example.evidence.start, example.evidence.end) if example.evidence and answer else None
        if evidence and evidence[1] > passage.places[-1][1]:
            answer, evidence = "", None  # it was cut off
        return make_row(self._codec, question, passage, answer, evidence, max_tokens=self._config.answer_tokens)


def load_data(config: AnswersConfig) -> AnswersData:
    """Reads the corpus that a configuration names.

    Raises:
        DataError: It is missing or unreadable.
    """
    return AnswersData(read_corpus(Path(config.data) if config.data else DEFAULT), config)
