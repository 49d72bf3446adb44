"""Decodes answers in torch: greedily, as the server does, or by differentiable sampling for adversarial training."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import gumbel_softmax, pad

from muserve_export.families.answers.model import Reading
from muserve_server.tasks.answer.text import BEGIN, END, NOTHING, PADDING, UNKNOWN

__all__ = ["Candidates", "SoftAnswers", "decode_greedily", "find_candidates", "sample_soft"]


_MIN_VALUE, _NONE = 1e-6, 1e-12
_VECTOR = 16
"""Width of onnxruntime's widest SIMD registers, in float32."""


class Candidates(NamedTuple):
    """Candidates for the next token, most likely first."""

    tokens: Tensor
    """int64 [row, candidate]."""
    logarithms: Tensor
    """Log-probability of generating or copying each: [row, candidate]."""
    places: Tensor
    """Source position to copy it from; -1 if generating it is more likely: int64 [row, candidate]."""


class SoftAnswers(NamedTuple):
    """Sampled answers that pass gradients."""

    worded: Tensor
    """One-hot generated token of each step, or all zero: [row, step, vocabulary]."""
    picked: Tensor
    """One-hot copied source position of each step, or all zero: [row, step, source token]."""
    is_there: Tensor
    """Whether a step belongs to the answer, including its END: bool [row, step]."""


def find_candidates(words: Tensor, copies: Tensor, source: Tensor, count: int) -> Candidates:
    """Adds the probabilities of generating and of copying each token, and returns the most likely ones.

    Args:
        words: Log-probability of generating each token, [row, vocabulary].
        copies: Log-probability of copying each source token, [row, source token].
        source: int64 [row, source token].
        count: Number of candidates.
    """
    # What is unknown has no spelling: it can only be copied. Nothing begins or fills up in the middle.
    order = torch.arange(words.shape[1], device=words.device)
    worded = words.exp() * (order >= END).to(words.dtype)
    copied = copies.exp() * ((source >= END) | (source == UNKNOWN)).to(copies.dtype)
    together = worded.scatter_add(1, source, copied)
    likelihoods, tokens = together.topk(count, dim=1)
    # What is hardly likely at all is the best once more, so that rounding decides nothing.
    tells = likelihoods > _MIN_VALUE
    tokens = torch.where(tells, tokens, tokens[:, :1])
    is_it = source[:, None] == tokens[..., None]  # [row, candidate, source token]
    best = torch.where(is_it, copies[:, None], torch.full_like(copies[:, None], -torch.inf)).argmax(2)
    is_copied = worded.gather(1, tokens) < together.gather(1, tokens) / 2
    places = torch.where(is_copied, best, torch.full_like(best, NOTHING))
    likely = torch.where(tells, likelihoods, torch.full_like(likelihoods, _NONE))
    # Of whole vectors, since onnxruntime takes the logarithms of what is left over by another routine.
    logarithms = torch.log(pad(likely, (0, -count % _VECTOR), value=1.0))[:, :count]
    return Candidates(tokens, logarithms, places)


def decode_greedily(writer: Any, reading: Reading, source: Tensor, noise: Tensor, steps: int) -> Tensor:
    """Decodes greedily, as the server does: no answer is empty.

    Args:
        writer: A Writer, in evaluation mode.
        reading: The reader's output.
        source: int64 [row, source token].
        noise: [row, latent].
        steps: Maximum number of tokens.

    Returns:
        int64 [row, step], PADDING after END.
    """
    state = (reading.memory, reading.hidden, reading.cell)
    token = torch.full((len(source), 1), BEGIN, device=source.device)
    place = torch.full((len(source), 1), NOTHING, device=source.device)
    is_done = torch.zeros(len(source), dtype=torch.bool, device=source.device)
    written = []
    for step in range(steps):
        words, copies, hidden, cell = writer(token, place, noise, state, source)
        best = find_candidates(words[:, 0], copies[:, 0], source, 2)
        is_empty = (best.tokens[:, :1] == END) if not step else torch.zeros_like(token, dtype=torch.bool)
        token = torch.where(is_empty, best.tokens[:, 1:], best.tokens[:, :1])
        place = torch.where(is_empty, best.places[:, 1:], best.places[:, :1])
        written.append(token[:, 0].masked_fill(is_done, PADDING))
        is_done = is_done | (token[:, 0] == END)
        state = (reading.memory, hidden, cell)
        if is_done.all():
            break
    return torch.stack(written, dim=1)


def sample_soft(
    writer: Any, reading: Reading, source: Tensor, noise: Tensor, steps: int, temperature: float
) -> SoftAnswers:
    """Samples by straight-through Gumbel-softmax (Jang et al., 2017): one-hot tokens with the gradient of the softmax.

    Args:
        writer: A Writer.
        reading: The reader's output.
        source: int64 [row, source token].
        noise: [row, latent].
        steps: Maximum number of tokens.
        temperature: Of the softmax.
    """
    state = (reading.memory, reading.hidden, reading.cell)
    vocabulary = writer.embed.weight.shape[0]
    sources = writer.embed(source)  # [row, source token, embedding]
    given = writer.embed(torch.full((len(source), 1), BEGIN, device=source.device))
    copied = torch.zeros_like(reading.memory[:, :1])
    follows = torch.zeros_like(source[:, None], dtype=given.dtype)
    is_open = torch.ones(len(source), dtype=torch.bool, device=source.device)
    steps_worded, steps_picked, steps_there = [], [], []
    for _ in range(steps):
        words, copies, hidden, cell = writer.go_on(given, copied, follows, noise, state, source)
        chosen = gumbel_softmax(torch.cat([words, copies], dim=2), tau=temperature, hard=True)
        worded, picked = chosen.split([vocabulary, source.shape[1]], dim=2)
        given = worded @ writer.embed.weight + picked @ sources
        copied = picked @ reading.memory
        follows = pad(picked[..., :-1], (1, 0))
        state = (reading.memory, hidden, cell)
        steps_worded.append(worded)
        steps_picked.append(picked)
        steps_there.append(is_open)
        is_end = worded[:, 0, END] + (picked[:, 0] * (source == END)).sum(1)
        is_open = is_open & (is_end < 0.5)
        if not is_open.any():
            break
    return SoftAnswers(torch.cat(steps_worded, dim=1), torch.cat(steps_picked, dim=1), torch.stack(steps_there, dim=1))
