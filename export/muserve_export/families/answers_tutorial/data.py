"""How many words the true answers have."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muserve_export.families.answers import data as answers_data
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.corpus.corpus import Corpus
from muserve_export.families.answers.examples.maker import ExampleMaker
from muserve_export.families.answers.examples.wordings import answer_sentence

__all__ = ["MAX_WORDS", "LengthSet", "load_data", "to_words"]

MAX_WORDS = 40


class LengthSet:
    """Word counts of the true answers, from -1 for none to 1 for 40 or more; see `training.loop.TrainingSet`."""

    def __init__(self, corpus: Corpus) -> None:
        """Counts the words of the answers in the training part."""
        maker = ExampleMaker(corpus, "train")
        answers = [answer_sentence(triple) for triple in maker.triples] + [pair.answer for pair in maker.pairs]
        words = torch.tensor([min(len(answer.split()), MAX_WORDS) for answer in answers], dtype=torch.float32)
        self.values = (2 * words / MAX_WORDS - 1)[:, None]
        self.sha256 = corpus.sha256

    def __len__(self) -> int:
        return len(self.values)

    def batch(self, indices: Tensor) -> tuple[Tensor]:
        """Returns items by index, float32 [item, 1]."""
        return (self.values[indices],)


def load_data(config: AnswersConfig) -> LengthSet:
    """Reads the corpus that a configuration names.

    Raises:
        DataError: It is missing or unreadable.
    """
    return LengthSet(answers_data.load_data(config).corpus)


def to_words(values: Tensor) -> NDArray[np.float64]:
    """Turns values [item, 1] into word counts [item]."""
    words: NDArray[np.float64] = (values.detach().numpy()[:, 0].astype(np.float64) + 1) * MAX_WORDS / 2
    return words
