"""Teaches a reader and a writer by likelihood: what is answerable, where the evidence is, and what to write."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, cross_entropy

from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.model import Reader, Reading, Writer
from muserve_export.families.answers.rows import Batch
from muserve_export.families.answers.text import NOTHING, PADDING

__all__ = ["LikelihoodLearner", "likelihood_losses"]

_NEVER = -1e4
_MOST_GRADIENT = 5.0


class LikelihoodLearner:
    """A reader and a writer, taught together; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: AnswersConfig, vocabulary: int) -> None:
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._config = config
        reader, writer = Reader(config, vocabulary), Writer(config, vocabulary)
        self._modules: dict[str, Any] = {}
        self._optimizers: dict[str, Any] = {}
        for name, module in (("reader", reader), ("writer", writer)):
            optimizer = torch.optim.Adam(module.parameters(), lr=config.learning_rate)
            self._modules[name], self._optimizers[f"{name}_optimizer"] = fabric.setup(module, optimizer)

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return self._modules

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return self._optimizers

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        """Teaches one batch."""
        share = _learning_rate_share(step, steps, self._config.warm_up_share)
        for optimizer in self._optimizers.values():
            for group in optimizer.param_groups:
                group["lr"] = self._config.learning_rate * share
            optimizer.zero_grad()
        losses = likelihood_losses(self._modules["reader"], self._modules["writer"], Batch(*batch), self._config)
        loss = losses["likelihood_loss"] + self._config.reading_weight * (
            losses["answerable_loss"] + losses["evidence_loss"]
        )
        self._fabric.backward(loss)
        for name, module in self._modules.items():
            self._fabric.clip_gradients(module, self._optimizers[f"{name}_optimizer"], max_norm=_MOST_GRADIENT)
            self._optimizers[f"{name}_optimizer"].step()
        return {name: value.detach() for name, value in losses.items()}

    def sheet(self) -> NDArray[np.uint8] | None:
        """Texts make no sheet."""
        return None


def likelihood_losses(reader: Any, writer: Any, batch: Batch, config: AnswersConfig) -> dict[str, Tensor]:
    """Measures networks on rows.

    Args:
        reader: A Reader.
        writer: A Writer.
        batch: The rows.
        config: Size of the noise.

    Returns:
        Means: of the negative logarithm of each wanted token's likelihood, of the cross-entropies of answerability and
        of the evidence's two ends.
    """
    read: Reading = reader(batch.question, batch.passage)
    source = torch.cat([batch.question, batch.passage], dim=1)
    noise = torch.randn(len(source), config.latent_size, device=source.device)
    words, copies, _, _ = writer(batch.written, batch.places, noise, (read.memory, read.hidden, read.cell), source)
    # A token is written if it is worded, or copied from wherever it stands.
    is_it = source[:, None] == batch.wanted[..., None]  # [row, step, source token]
    worded = words.gather(2, batch.wanted[..., None])
    each = torch.cat([worded, copies.masked_fill(~is_it, _NEVER)], dim=2).logsumexp(2)
    is_wanted = batch.wanted != PADDING
    has_evidence = batch.start != NOTHING
    evidence = torch.zeros((), device=source.device)
    if has_evidence.any():
        evidence = (
            cross_entropy(read.start[has_evidence], batch.start[has_evidence])
            + cross_entropy(read.end[has_evidence], batch.end[has_evidence])
        ) / 2
    return {
        "likelihood_loss": -each[is_wanted].sum() / is_wanted.sum().clamp(min=1),
        "answerable_loss": binary_cross_entropy_with_logits(read.answerable, batch.answerable),
        "evidence_loss": evidence,
    }


def _learning_rate_share(step: int, steps: int, warm_up: float) -> float:
    """Rises evenly, then falls along half a cosine."""
    rising = max(1.0, warm_up * steps)
    if step <= rising:
        return step / rising
    return 0.5 * (1.0 + math.cos(math.pi * (step - rising) / max(1.0, steps - rising)))
