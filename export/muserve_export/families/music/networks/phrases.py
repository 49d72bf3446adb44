"""A training batch of phrases, and phrases whose tracks do not belong together."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn.functional import binary_cross_entropy_with_logits

from muserve_export.families.music.networks.layers import Conditions

__all__ = ["Phrases", "mismatched"]


@dataclass(frozen=True)
class Phrases:
    """A batch as the networks take it."""

    real: Tensor
    """[batch, track, channel, step, pitch]."""
    conditions: Conditions
    """Of the real phrases, and requested of the generator."""
    given: Tensor
    """1 for tracks to accompany, [batch, track]."""

    @property
    def request(self) -> tuple[Conditions, Tensor, Tensor]:
        """A generator's arguments beside noise: conditions, rolls, and which of their tracks are given."""
        return self.conditions, self.real, self.given

    def split(self, rows: int) -> Iterator[Phrases]:
        """Yields parts of the batch, of at most so many rows."""
        tensors = (self.real, *self.conditions, self.given)
        for real, style, tempo, density, given in zip(*(tensor.split(rows) for tensor in tensors), strict=True):
            yield Phrases(real, Conditions(style, tempo, density), given)

    def keep_given(self, written: Tensor) -> Tensor:
        """Replaces generated tracks by the given ones."""
        given = self.given[:, :, None, None, None]
        return written * (1 - given) + self.real * given

    def reconstruction_loss(self, logits: Tensor) -> Tensor:
        """Cross-entropy of the tracks that were not given, in nats a track and step."""
        losses = binary_cross_entropy_with_logits(logits, self.real, reduction="none").sum(dim=(2, 4))
        wanted = (1 - self.given)[:, :, None].expand_as(losses)  # [batch, track, step]
        return (losses * wanted).sum() / wanted.sum().clamp(min=1)


def mismatched(real: Tensor, style: Tensor) -> tuple[Tensor, Tensor]:
    """Swaps some tracks of each row with those of another row of its style.

    Args:
        real: 0 to 1, [batch, track, channel, step, pitch].
        style: Index of each row's style, [batch].

    Returns:
        The mixed rows, and 1 for each row that now differs and still has a track of its own, [batch].
    """
    count, tracks = real.shape[:2]
    order = torch.argsort(style + torch.rand(count, device=real.device))  # rows of a style stand together
    following = torch.roll(order, -1)
    partner = torch.empty_like(order)
    partner[order] = torch.where(style[order] == style[following], following, order)
    swap = torch.rand(count, tracks, device=real.device) < 0.5
    mixed = torch.where(swap[:, :, None, None, None], real[partner], real)
    sounds = real > 0.5
    changed = ((mixed > 0.5) != sounds).flatten(2).any(dim=2)
    # A row with all its tracks swapped is another real phrase: at least one must have stayed and still sound.
    stays = (~swap & sounds.flatten(2).any(dim=2)).any(dim=1)
    return mixed, (changed.any(dim=1) & stays).float()
