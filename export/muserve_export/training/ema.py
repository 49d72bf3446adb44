"""An exponential moving average of a network's weights: what is drawn from and exported instead of the last step's.

torch.optim.swa_utils.AveragedModel with get_ema_multi_avg_fn gives other numbers in short runs, so it does not take the
place of this: it has no warm-up of the decay (after 200 steps at 0.999 its weights are mostly those of the first step),
averages counters as if they were weights, and names weights otherwise than the checkpoints of released runs. Once the
warm-up is long past, the two agree.
"""

from __future__ import annotations

import copy

import torch
from torch import nn

__all__ = ["MovingAverage"]


class MovingAverage:
    """Follows a network. Its buffers (batch statistics) are averaged too, so that they fit the averaged weights."""

    def __init__(self, source: nn.Module, decay: float) -> None:
        """Starts from the network's own weights.

        Args:
            source: The network, before Fabric wraps it.
            decay: Share of the old average kept in one step. Early on less is kept, so that the first weights fade.
        """
        self.module = copy.deepcopy(source).requires_grad_(requires_grad=False).eval()
        self._decay = decay

    @torch.no_grad()
    def update(self, source: nn.Module, step: int) -> None:
        """Takes in the network's weights after a step, counted from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        current = source.state_dict()
        for name, average in self.module.state_dict().items():
            if average.is_floating_point():
                average.lerp_(current[name], 1 - decay)
            else:
                average.copy_(current[name])
