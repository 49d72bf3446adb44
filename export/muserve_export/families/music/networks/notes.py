"""Which notes are played of those that a network expects.

A network that knows when a bass plays but not yet what gives each of several pitches a small probability, and none is
above a threshold. So what counts is how many notes are expected: as many begin, the likeliest ones; and a note goes on
where one that sounds is likely to, however likely it was itself. Where a network is sure, this is a threshold of one
half.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["HOLD_THRESHOLD", "ONSET_THRESHOLD", "binarise", "play", "weigh"]

ONSET_THRESHOLD = 0.5
HOLD_THRESHOLD = 0.35
"""By validation: 0.3 and 0.5 gave nearly the same median distance, 0.28 and 0.29, but 0.7 gave 0.35."""
_SURE = 8.0
_TINY = 1e-3


def weigh(logits: Tensor) -> Tensor:
    """Turns logits into numbers that stand above the thresholds where notes begin and where those that sound go on.

    Args:
        logits: [batch, track, channel, step, pitch], of probabilities that a note begins, and that one sounds on.

    Returns:
        0 to 1, the same shape. The hold channel says how likely a note goes on that sounds in the step before; in the
        first step, which has none before it, how likely one sounds on.
    """
    onset, hold = torch.sigmoid(logits).unbind(2)  # [batch, track, step, pitch]
    likeliest_first = onset.sort(dim=3, descending=True).values
    number = torch.floor(onset.sum(3, keepdim=True) + 0.5)
    least = likeliest_first.gather(3, (number - 1).clamp(min=0).long())
    begins = (onset >= least) & (number > 0)
    sounding = (onset + hold)[:, :, :-1]
    goes_on = torch.cat([hold[:, :, :1], (hold[:, :, 1:] / (sounding + _TINY)).clamp(max=1)], dim=2)
    return torch.stack([torch.where(begins, (1 + onset) / 2, onset / 2), goes_on], dim=2)


def play(logits: Tensor) -> Tensor:
    """Plays the notes of logits, as `weigh` weighs them: 0 or 1, the same shape."""
    onset, hold = weigh(logits).unbind(2)
    begins, may_go_on = onset > ONSET_THRESHOLD, hold > HOLD_THRESHOLD
    steps, sounds = [], torch.zeros_like(begins[:, :, 0])
    for begin, go_on in zip(begins.unbind(2), may_go_on.unbind(2), strict=True):
        held = go_on & sounds & ~begin
        sounds = begin | held
        steps.append(held)
    return torch.stack([begins, torch.stack(steps, dim=2)], dim=2).float()


def binarise(logits: Tensor) -> Tensor:
    """Plays the notes of logits, and passes gradients as if it had not (Bengio et al., 2013: straight-through).

    Gradients are the same wherever a cell is not quite sure. A sigmoid's own would let notes go ten times as easily as
    come, since silent cells are surer than sounding ones, and a generator would fall silent.

    Args:
        logits: As `weigh` takes them.

    Returns:
        0 or 1, the same shape.
    """
    with torch.no_grad():
        played = play(logits)
    passed = logits.clamp(-_SURE, _SURE) / 4
    return played + (passed - passed.detach())
