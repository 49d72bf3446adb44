"""The discriminator: scores whether an answer was written by a person, given a question and a passage.

It is conditional on question and passage, as the discriminators of Reed et al., "Generative Adversarial Text to Image
Synthesis", 2016, are on a caption: each word of the answer attends to them.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn.functional import gelu, softmax

from muserve_export.families.answers.config import AnswersConfig
from muserve_server.tasks.answer.text import PADDING

__all__ = ["Critic"]

_NEVER = -1e4


class Critic(nn.Module):
    """Scores answers by convolutions over three words, since most faults of an answer are local."""

    def __init__(self, config: AnswersConfig, vocabulary: int) -> None:
        super().__init__()
        size = config.embedding_size
        self.embed = nn.Embedding(vocabulary, size, padding_idx=PADDING)
        self.reads = nn.Conv1d(size, size, 3, padding=1)
        self.answers = nn.Conv1d(size, size, 3, padding=1)
        self.compare = nn.Conv1d(4 * size, 2 * size, 3, padding=1)
        self.judge = nn.Sequential(nn.Linear(4 * size, size), nn.GELU(), nn.Linear(size, 1))

    def forward(self, answer: Tensor, is_there: Tensor, source: Tensor) -> Tensor:
        """Scores answers.

        Args:
            answer: A mixture of this network's embeddings at each step, [row, step, embedding].
            is_there: Whether a step belongs to the answer, [row, step].
            source: Tokens of question and passage, int64 [row, source token].

        Returns:
            Logit of each answer, higher for those more like a person's, [row].
        """
        mask = is_there[..., None].to(answer.dtype)
        about = gelu(_over_words(self.reads, self.embed(source)))  # [row, source token, embedding]
        said = gelu(_over_words(self.answers, answer * mask))
        scores = said @ about.transpose(1, 2) / math.sqrt(said.shape[2])
        looked = softmax(scores.masked_fill((source == PADDING)[:, None], _NEVER), dim=2) @ about
        compared = torch.cat([said, looked, said * looked, said - looked], dim=2) * mask
        found = gelu(_over_words(self.compare, compared))
        mean = (found * mask).sum(1) / mask.sum(1).clamp(min=1)
        most = found.masked_fill(~is_there[..., None], _NEVER).amax(1)
        judged: Tensor = self.judge(torch.cat([mean, most], dim=1))
        return judged[:, 0]


def _over_words(convolution: nn.Conv1d, values: Tensor) -> Tensor:
    """Convolves [row, word, value] along the words."""
    made: Tensor = convolution(values.transpose(1, 2)).transpose(1, 2)
    return made
