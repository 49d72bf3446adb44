"""Settings of an answers run."""

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
        "folder of entries (*.jsonl, *.toml), or a file of questions and answers (.csv, .jsonl, SQuAD's .json); empty "
        "uses data/answers",
    )
    architecture: str = option(
        "reader-writer",
        "a reader and a writer of text; or the published networks, which map noise to one number and answer nothing",
        choices=("reader-writer", "tutorial"),
    )
    rows_per_epoch: int = option(20_000, "questions sampled per epoch", unit="rows", minimum=1)
    ask_share: float = option(
        0.25, "fraction of rows that train question generation instead of answering", minimum=0, maximum=1
    )

    vocabulary_size: int = option(8000, "size of the subword vocabulary", unit="tokens", minimum=64)
    embedding_size: int = option(128, "size of a token embedding", minimum=1)
    hidden_size: int = option(
        128, "hidden size of the reader's LSTMs, per direction; the writer's is four times this", minimum=1
    )
    latent_size: int = option(16, "size of the noise vector that an answer is sampled from", minimum=1)
    dropout: float = option(0.2, "dropout rate of embeddings and states", minimum=0, maximum=0.9)
    question_tokens: int = option(48, "maximum length of a question", minimum=4, maximum=512)
    passage_tokens: int = option(200, "maximum length of a passage", minimum=8, maximum=512)
    answer_tokens: int = option(80, "maximum length of an answer", minimum=4, maximum=512)
    candidates: int = option(
        16, "top-k: number of candidates that each next token is sampled from", minimum=1, maximum=256
    )

    learning_rate: float = option(1e-3, "peak learning rate of Adam", minimum=0)
    warm_up_share: float = option(
        0.02, "fraction of the run over which the learning rate warms up", minimum=0, maximum=1
    )
    reading_weight: float = option(
        0.5, "loss weight of evidence and answerability; that of the likelihood is 1", minimum=0
    )

    adversary_from: float = option(
        1.0, "fraction of the run after which adversarial training begins; 1 for never", minimum=0, maximum=1
    )
    adversary_weight: float = option(0.1, "loss weight of the adversarial term; that of the likelihood is 1", minimum=0)
    adversary_tokens: int = option(
        32, "maximum length of an answer that the discriminator sees", minimum=1, maximum=512
    )
    critic_learning_rate: float = option(2e-4, "learning rate of the discriminator's Adam", minimum=0)
    temperature: float = option(
        1.0,
        "temperature of the Gumbel-softmax that passes the discriminator's gradients to the writer",
        minimum=0.01,
        maximum=10,
    )
    validate_every_steps: int = option(
        500,
        "interval of validation, which measures the F1 of answers; the best weights are exported",
        unit="steps",
        minimum=1,
    )
    validation_rows: int = option(256, "rows to validate on", unit="rows", minimum=1)
    patience: int = option(
        6, "early-stopping patience during adversarial training, in consecutive validation checks", minimum=1
    )

    @property
    def epochs_may_change(self) -> bool:
        """No: the learning-rate schedule spans the whole run."""
        return False
