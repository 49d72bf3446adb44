"""Pictures of forecasts, for the sheets of a run and the samples of a bundle."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from numpy.typing import NDArray
from torch import nn

from muserve_export.families.forecast.frequencies import FREQUENCIES
from muserve_export.families.forecast.model import MIDDLE, QUANTILES
from muserve_export.families.forecast.windows import GlobalWindows
from muserve_server.tasks.forecast.windows import STATIC_FEATURES

__all__ = ["Panel", "pixels_of", "plot_panels", "plot_windows"]

_LOW, _HIGH = QUANTILES.index(0.1), QUANTILES.index(0.9)
_COLUMNS = 3
_EACH = 2

Panel = tuple[str, NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]
"""Title; past [step]; what came [step], NaN where it is not known; forecast [step, (lower, median, upper)]."""


def plot_panels(panels: Sequence[Panel]) -> Figure:
    """Plots series beside each other: past, what came, median and the band between two quantiles."""
    columns = min(_COLUMNS, len(panels))
    rows = -(-len(panels) // columns)
    figure = Figure(figsize=(4.2 * columns, 2.6 * rows), layout="constrained")
    for place, (title, past, came, forecast) in enumerate(panels, start=1):
        axes = figure.add_subplot(rows, columns, place)
        coming = np.arange(len(past), len(past) + len(forecast))
        axes.plot(np.arange(len(past)), past, color="black", linewidth=1)
        axes.fill_between(coming, forecast[:, 0], forecast[:, 2], color="tab:blue", alpha=0.25, linewidth=0)
        axes.plot(coming, forecast[:, 1], color="tab:blue", linewidth=1.4)
        axes.plot(coming[: len(came)], came, color="tab:orange", linewidth=1)
        axes.set_title(title, fontsize=9)
        axes.tick_params(labelsize=7)
    return figure


def plot_windows(windows: GlobalWindows, network: nn.Module, device: torch.device) -> NDArray[np.uint8]:
    """Plots some windows of each frequency as the network sees them: uint8 [height, width, channel]."""
    own = windows.facts[:, STATIC_FEATURES:].argmax(dim=1)
    panels: list[Panel] = []
    for frequency in FREQUENCIES:
        is_own = own == frequency.index
        is_whole = is_own & (windows.weights[:, : frequency.horizon_steps] > 0).all(dim=1)
        members = torch.nonzero(is_whole if is_whole.any() else is_own)[:, 0]
        for index in members[:: max(1, len(members) // _EACH)][:_EACH]:
            chosen = index[None]
            forecast = network(windows.windows[chosen].to(device), windows.facts[chosen].to(device))[0].cpu().numpy()
            past = windows.windows[index, :, 0].numpy().astype(np.float64) * 4
            known = windows.windows[index, :, 3].numpy() > 0
            came = windows.targets[index].numpy().astype(np.float64)
            came[windows.weights[index].numpy() == 0] = np.nan
            steps = frequency.horizon_steps
            band = forecast[:steps][:, [_LOW, MIDDLE, _HIGH]].astype(np.float64)
            panels.append((frequency.name, np.where(known, past, np.nan), came[:steps], band))
    return pixels_of(plot_panels(panels))


def pixels_of(figure: Figure) -> NDArray[np.uint8]:
    """Draws a figure: uint8 [height, width, channel]."""
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba(), dtype=np.uint8)[..., :3].copy()
