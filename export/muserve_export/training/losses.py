"""Losses of adversarial training."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits, mse_loss

__all__ = ["cross_entropy_loss", "least_squares_loss"]


def cross_entropy_loss(logits: Tensor, *, real: bool) -> Tensor:
    """Binary cross-entropy of a discriminator's logits against one label; non-saturating (Goodfellow et al., 2014)."""
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def least_squares_loss(scores: Tensor, *, real: bool) -> Tensor:
    """Squared difference of a discriminator's scores from one label (Mao et al., 2017)."""
    return mse_loss(scores, torch.full_like(scores, float(real)))
