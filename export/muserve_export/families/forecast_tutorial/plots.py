"""The picture of the tutorial: predictions over the truth."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray

from muserve_export.families.forecast.plots import pixels_of

__all__ = ["plot_next_values"]


def plot_next_values(truth: NDArray[np.float32], found: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Plots predictions over the truth of all windows: uint8 [height, width, channel]."""
    figure = Figure(figsize=(9, 4), layout="constrained")
    axes = figure.add_subplot()
    axes.plot(truth, label="truth", color="black", linewidth=1)
    axes.plot(found, label="prediction", color="tab:blue", linewidth=1, linestyle="--")
    axes.set_xlabel("window")
    axes.legend()
    return pixels_of(figure)
