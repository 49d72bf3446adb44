"""The networks: a reader of questions and passages, and a writer that copies or generates each token.

The reader is a small one of the kind of Chen et al., "Reading Wikipedia to Answer Open-Domain Questions", 2017: LSTMs
both ways, words that both texts share, and a question that is looked at from each word. The writer mixes a vocabulary
with its source's words (See et al., "Get To The Point", 2017). It is told where the word before was copied from, so
that whole phrases come out in order and all steps of training run at once.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import linear, log_softmax, pad, softmax

from muserve_export.families.answers.config import AnswersConfig
from muserve_server.tasks.answer.text import PADDING, UNKNOWN

__all__ = ["Reader", "Reading", "Writer"]

_NEVER = -1e4
_MIN_VALUE = math.log(1e-9)


class Reading(NamedTuple):
    """Output of the reader."""

    memory: Tensor
    """Encoding of each token of question and passage: [row, source token, state]."""
    hidden: Tensor
    """Initial hidden state of the writer: [row, writer state]."""
    cell: Tensor
    """Initial cell state of the writer: [row, writer state]."""
    answerable: Tensor
    """Logit of whether the passage answers the question: [row]."""
    start: Tensor
    """Logits of the first token of the evidence: [row, passage token]."""
    end: Tensor
    """Logits of the last token of the evidence: [row, passage token]."""


class Reader(nn.Module):
    """Reads a question and one passage."""

    def __init__(self, config: AnswersConfig, vocabulary: int) -> None:
        super().__init__()
        size, hidden = config.embedding_size, config.hidden_size
        both = 2 * hidden
        self.embed = nn.Embedding(vocabulary, size, padding_idx=PADDING)
        # How much it says that a token stands in both texts: much of a name, little of "the".
        self.telling = nn.Embedding(vocabulary, 1)
        nn.init.zeros_(self.telling.weight)
        self.dropout = nn.Dropout(config.dropout)
        self.question = _BothWays(size + 2, hidden)
        self.align = nn.Linear(size, size)
        self.passage = _BothWays(2 * size + 2, hidden)
        self.fuse = nn.Sequential(nn.Linear(3 * both, both), nn.GELU())
        self.reread = _BothWays(both, hidden)
        self.asked = nn.Linear(both, 1)
        self.starts, self.ends = nn.Linear(both, both), nn.Linear(both, both)
        self.answers = nn.Sequential(nn.Linear(3 * both, hidden), nn.GELU(), nn.Linear(hidden, 1))
        self.begin = nn.Linear(2 * both, 2 * both)
        self.begin_cell = nn.Linear(2 * both, 2 * both)

    def forward(self, question: Tensor, passage: Tensor) -> Reading:
        """Encodes questions and passages, and scores answerability and evidence.

        Args:
            question: int64 [row, question token], padded with 0.
            passage: int64 [row, passage token], padded with 0.
        """
        in_question, in_passage = question != PADDING, passage != PADDING
        is_known = in_passage & (passage != UNKNOWN)  # two unknown words are hardly one
        question_words = self.dropout(self.embed(question))  # [row, question token, embedding]
        passage_words = self.dropout(self.embed(passage))
        same = (passage[:, :, None] == question[:, None, :]) & is_known[:, :, None] & in_question[:, None, :]
        asked = self.question(
            torch.cat([question_words, self._shared(question, same.any(1))], dim=2), in_question
        )  # [row, question token, state]

        # Each word of the passage looks at the question's words that are like it.
        alike = self.align(passage_words) @ self.align(question_words).transpose(1, 2)
        looked = _attend(alike / math.sqrt(self.embed.embedding_dim), in_question, question_words)
        read = self.passage(torch.cat([passage_words, looked, self._shared(passage, same.any(2))], dim=2), in_passage)

        # Then again, at what the question's words mean where they stand.
        context = _attend(read @ asked.transpose(1, 2) / math.sqrt(self.asked.in_features), in_question, asked)
        read = read + self.fuse(torch.cat([read, context, read * context], dim=2))
        read = read + self.reread(self.dropout(read), in_passage)  # [row, passage token, state]

        gist = _pool(self.asked(asked)[..., 0], in_question, asked)  # [row, state]
        start = _compare(self.starts, read, gist) / math.sqrt(self.asked.in_features)
        end = _compare(self.ends, read, gist) / math.sqrt(self.asked.in_features)
        found = _pool(start + end, in_passage, read)
        most = read.masked_fill(~in_passage[..., None], _NEVER).amax(1)
        seen = torch.cat([gist, found], dim=1)
        return Reading(
            memory=torch.cat([asked, read], dim=1),
            hidden=torch.tanh(self.begin(seen)),
            cell=self.begin_cell(seen),
            answerable=self.answers(torch.cat([gist, found, most], dim=1))[:, 0],
            start=start.masked_fill(~in_passage, _NEVER),
            end=end.masked_fill(~in_passage, _NEVER),
        )

    def _shared(self, tokens: Tensor, is_shared: Tensor) -> Tensor:
        """Returns whether a token also occurs in the other text, as 0 or 1 and weighted by token: [row, token, 2]."""
        plain = is_shared.to(self.telling.weight.dtype)[..., None]
        return torch.cat([plain, plain * self.telling(tokens)], dim=2)


class Writer(nn.Module):
    """Decodes an answer step by step; in training all steps at once."""

    def __init__(self, config: AnswersConfig, vocabulary: int) -> None:
        super().__init__()
        size, both = config.embedding_size, 2 * config.hidden_size
        state = 2 * both
        self.embed = nn.Embedding(vocabulary, size, padding_idx=PADDING)
        self.dropout = nn.Dropout(config.dropout)
        self.lstm = nn.LSTM(size + both + config.latent_size, state, batch_first=True)
        self.query = nn.Linear(state, both)
        self.follow = nn.Linear(state, 1)
        self.word = nn.Sequential(nn.Linear(state + both, size), nn.GELU())
        self.bias = nn.Parameter(torch.zeros(vocabulary))
        self.copies = nn.Linear(state + both, 1)

    def forward(
        self, tokens: Tensor, places: Tensor, noise: Tensor, reading: tuple[Tensor, Tensor, Tensor], source: Tensor
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns the distribution of the next token of each step.

        Args:
            tokens: Previous token of each step, int64 [row, step].
            places: Source position that it was copied from; -1 if it was generated; int64 [row, step].
            noise: Standard normal noise, by which samples differ, [row, latent].
            reading: Memory, hidden and cell of `Reading`.
            source: Tokens of question and passage, int64 [row, source token].

        Returns:
            Log-probabilities of generating each token, [row, step, vocabulary], and of copying each source token,
            [row, step, source token], which together sum to one; and hidden and cell after the last step.
        """
        memory = reading[0]
        known = places >= 0
        at = places.clamp(min=0)[..., None].expand(-1, -1, memory.shape[2])
        copied = memory.gather(1, at) * known[..., None].to(memory.dtype)
        order = torch.arange(source.shape[1], device=source.device)
        follows = ((order == places[..., None] + 1) & known[..., None]).to(memory.dtype)
        return self.go_on(self.embed(tokens), copied, follows, noise, reading, source)

    def go_on(
        self,
        written: Tensor,
        copied: Tensor,
        follows: Tensor,
        noise: Tensor,
        reading: tuple[Tensor, Tensor, Tensor],
        source: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        """Returns what `forward` does, for embedded previous tokens, so that gradients pass through them.

        Args:
            written: Embedding of the previous token of each step, [row, step, embedding].
            copied: Encoding of its source token if it was copied, else 0, [row, step, state].
            follows: Whether a source token is the one after it, [row, step, source token].
            noise: See `forward`.
            reading: See `forward`.
            source: See `forward`.

        Returns:
            As `forward`.
        """
        memory, hidden, cell = reading
        repeated = noise[:, None].expand(-1, written.shape[1], -1)
        given = self.dropout(torch.cat([written, copied], dim=2))
        states, (hidden, cell) = self.lstm(
            torch.cat([given, repeated], dim=2), (hidden[None].contiguous(), cell[None].contiguous())
        )
        scores = (
            self.query(states) @ memory.transpose(1, 2) / math.sqrt(self.query.out_features)
        )  # [row, step, source token]
        # What follows the word that was copied last is the likeliest of all to be copied next.
        scores = scores + self.follow(states) * follows
        scores = scores.masked_fill((source == PADDING)[:, None], _NEVER)
        looks = softmax(scores, dim=2)
        seen = self.dropout(torch.cat([states, looks @ memory], dim=2))
        # Whether to word or to copy. Not as logsigmoid, which onnxruntime takes apart and loses in small numbers, and
        # computes differently for one row than for several.
        either = log_softmax(pad(self.copies(seen), (1, 0)), dim=2)
        words = log_softmax(self.word(seen) @ self.embed.weight.T + self.bias, dim=2)
        return (
            words + either[..., :1],
            log_softmax(scores, dim=2).clamp(min=_MIN_VALUE) + either[..., 1:],
            hidden[0],
            cell[0],
        )


class _BothWays(nn.Module):
    """A bidirectional LSTM that ignores padding."""

    def __init__(self, given: int, hidden: int) -> None:
        super().__init__()
        self.onward = nn.LSTM(given, hidden, batch_first=True)
        self.backward_ = nn.LSTM(given, hidden, batch_first=True)

    def forward(self, values: Tensor, is_there: Tensor) -> Tensor:
        """Encodes [row, token, value] into [row, token, state]."""
        mask = is_there[..., None].to(values.dtype)
        values = values * mask
        count = is_there.sum(1, keepdim=True)
        order = torch.arange(values.shape[1], device=values.device)[None]
        # The last token of a row first; what is behind its end stays there.
        turned = torch.where(order < count, count - 1 - order, order)[..., None]
        onward, _ = self.onward(values)
        back, _ = self.backward_(values.gather(1, turned.expand(-1, -1, values.shape[2])))
        back = back.gather(1, turned.expand(-1, -1, back.shape[2]))
        return torch.cat([onward, back], dim=2) * mask


def _attend(scores: Tensor, is_there: Tensor, values: Tensor) -> Tensor:
    """Attends: scores [row, query, key], mask [row, key], values [row, key, value]."""
    mixed: Tensor = softmax(scores.masked_fill(~is_there[:, None], _NEVER), dim=2) @ values
    return mixed


def _compare(given: nn.Linear, values: Tensor, other: Tensor) -> Tensor:
    """Returns the bilinear products of values and another vector: [row, token, value], [row, value].

    The other goes through the layer the other way round: once a row in place of once a token.
    """
    turned = linear(other, torch.cat([given.weight.T, given.bias[None]]))  # [row, value + 1]
    compared: Tensor = (values @ turned[:, :-1, None])[..., 0] + turned[:, -1:]
    return compared


def _pool(scores: Tensor, is_there: Tensor, values: Tensor) -> Tensor:
    """Pools values by attention: scores [row, token], mask [row, token], values [row, token, value]."""
    weights = softmax(scores.masked_fill(~is_there, _NEVER), dim=1)
    # A product, since onnxruntime adds up a sum over this axis in another order for one row than for several.
    pooled: Tensor = (weights[:, None] @ values)[:, 0]
    return pooled
