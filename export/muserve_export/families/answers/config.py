"""What can be set on an answers run."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.configuration import option
from muserve_export.training.config import TrainingConfig

__all__ = ["AnswersConfig"]


@dataclass(frozen=True)
class AnswersConfig(TrainingConfig):
    """Settings of the answers family."""

    data: str = option(
        "",
        "folder of entries (*.jsonl, *.toml) or a file of questions and answers (.csv, .jsonl, SQuAD's .json); empty "
        "takes data/answers",
    )
    architecture: str = option(
        "reader-writer",
        "a reader and a writer of words; or the published networks, which make one number of noise and answer nothing",
        choices=("reader-writer", "tutorial"),
    )
    rows_per_epoch: int = option(20_000, "questions drawn in an epoch", unit="rows", minimum=1)
    ask_share: float = option(0.25, "share of rows that learn to ask, not to answer", minimum=0, maximum=1)

    vocabulary_size: int = option(8000, "pieces of words", minimum=64)
    embedding_size: int = option(128, "numbers that stand for a piece of a word", minimum=1)
    hidden_size: int = option(
        128, "cells of the reader's LSTMs, each way; the writer has four times as many", minimum=1
    )
    latent_size: int = option(16, "numbers of noise that an answer is drawn from", minimum=1)
    dropout: float = option(0.2, "share of embeddings and states that is left out in training", minimum=0, maximum=0.9)
    question_tokens: int = option(48, "most tokens of a question", minimum=4, maximum=512)
    passage_tokens: int = option(200, "most tokens of a passage", minimum=8, maximum=512)
    answer_tokens: int = option(80, "most tokens of an answer", minimum=4, maximum=512)
    candidates: int = option(16, "tokens among which each next one of an answer is drawn", minimum=1, maximum=256)

    learning_rate: float = option(1e-3, "Adam's, at its highest", minimum=0)
    warm_up_share: float = option(0.02, "share of the run in which the learning rate rises", minimum=0, maximum=1)
    reading_weight: float = option(0.5, "weight of evidence and answerability beside the likelihood", minimum=0)

    adversary_from: float = option(
        1.0, "from which share of the run on a discriminator judges what is written; 1 never", minimum=0, maximum=1
    )
    adversary_weight: float = option(0.1, "its weight beside the likelihood", minimum=0)
    adversary_tokens: int = option(32, "most tokens of an answer that it judges", minimum=1, maximum=512)
    critic_learning_rate: float = option(2e-4, "Adam's, of the discriminator", minimum=0)
    temperature: float = option(
        1.0, "of the Gumbel-softmax through which the writer learns from it", minimum=0.01, maximum=10
    )
    validate_every_steps: int = option(
        500, "how often the F1 of answers on validation rows is taken; the best weights are exported", minimum=1
    )
    validation_rows: int = option(256, "rows it is taken on", unit="rows", minimum=1)
    patience: int = option(
        6, "how often in a row it may be below the best once the discriminator judges, before learning stops", minimum=1
    )

    @property
    def epochs_may_change(self) -> bool:
        """The learning rate falls over the whole run."""
        return False
