"""The metrics log of a run, and its plot."""

from __future__ import annotations

import csv
import math
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor

from muserve_export.errors import DivergedError
from muserve_export.training.run import replace_file

__all__ = ["Averages", "MetricsLog", "plot_metrics"]

_COLUMNS = ("epoch", "step", "seconds")


class Averages:
    """Means over the steps since the last row. Keeps tensors, so that a step does not wait for the device."""

    def __init__(self) -> None:
        self._sums: dict[str, Tensor] = {}
        self._steps = 0

    def add(self, losses: Mapping[str, Tensor]) -> None:
        """Adds one step's losses, each a scalar."""
        for name, value in losses.items():
            self._sums[name] = self._sums[name] + value.detach() if name in self._sums else value.detach()
        self._steps += 1

    def take(self) -> dict[str, float]:
        """Returns the means and starts anew.

        Raises:
            DivergedError: One is not finite.
        """
        means = {name: float(total) / self._steps for name, total in self._sums.items()}
        self._sums, self._steps = {}, 0
        for name, value in means.items():
            if not math.isfinite(value):
                raise DivergedError(f"{name} is {value}: training diverged; lower the learning rate or change the seed")
        return means


class MetricsLog:
    """metrics.csv: one row of means, with the epoch it lies in (from 1), the steps so far and the training seconds."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def cut(self, epoch: int) -> None:
        """Drops the rows after an epoch: what a run that was killed wrote past its checkpoint."""
        if not self._path.exists():
            return
        header, *rows = self._path.read_text(encoding="utf-8").splitlines() or [""]
        kept = [row for row in rows if int(row.partition(",")[0]) <= epoch]
        if kept:
            replace_file(self._path, "\n".join([header, *kept]) + "\n")
        else:
            self._path.unlink()

    def write(self, epoch: int, step: int, seconds: float, means: Mapping[str, float]) -> None:
        """Appends a row."""
        new = not self._path.exists()
        with self._path.open("a", newline="", encoding="utf-8") as file:
            writer = csv.writer(file, lineterminator="\n")
            if new:
                writer.writerow([*_COLUMNS, *means])
            writer.writerow([epoch, step, f"{seconds:.2f}", *(f"{value:.6g}" for value in means.values())])


def plot_metrics(log: Path, plot: Path) -> None:
    """Plots every column of a metrics log over the steps."""
    from matplotlib.figure import Figure  # slow to import, and only wanted here

    with log.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    figure = Figure(figsize=(8, 4.5), layout="constrained")
    axes = figure.add_subplot()
    steps = [int(row["step"]) for row in rows]
    for name in [name for name in rows[0] if name not in _COLUMNS]:
        axes.plot(steps, [float(row[name]) for row in rows], label=name.replace("_", " "), linewidth=1.2)
    axes.set_xlabel("step")
    axes.set_ylabel("mean since the last row")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(plot, dpi=120)
