"""Learning-rate schedules: what share of its highest value the rate has at a step of a run."""

from __future__ import annotations

import math

__all__ = ["constant_then_linear", "linear", "warm_up_cosine"]

_LEAST_SHARE = 0.01


def linear(done: float, total: float, final_share: float) -> float:
    """Falls linearly from 1 to a share.

    Args:
        done: Steps that are done, or the share of the run.
        total: Steps in the run; 1 if `done` is a share.
        final_share: What is left at the end.
    """
    return 1.0 - (1.0 - final_share) * done / total


def constant_then_linear(step: int, steps: int, decay_from: float) -> float:
    """Stays at 1, then falls linearly to 0 (Zhu et al., 2017, section 4).

    Args:
        step: Number of the step, from 1.
        steps: Steps in the run.
        decay_from: Share of the run after which it falls; 1 for never.
    """
    left = 1.0 - (step - 1) / steps
    falling = 1.0 - decay_from
    return min(1.0, left / falling) if falling else 1.0


def warm_up_cosine(progress: float, *, warm_up_share: float, final_share: float = 0.0) -> float:
    """Rises linearly to 1, then falls along half a cosine (Loshchilov and Hutter, "SGDR", 2017).

    Args:
        progress: Share of the run that is done.
        warm_up_share: Share of the run in which it rises.
        final_share: What is left at the end; 1 to stay at 1.
    """
    if progress < warm_up_share:
        return max(progress / warm_up_share, _LEAST_SHARE)
    if final_share == 1.0:
        return 1.0
    fallen = (progress - warm_up_share) / max(1 - warm_up_share, 1e-9)
    return final_share + (1 - final_share) * 0.5 * (1 + math.cos(math.pi * fallen))
