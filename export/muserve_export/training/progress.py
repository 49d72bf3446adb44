"""Tells people how far a run is: a bar on a terminal, a line an epoch elsewhere."""

from __future__ import annotations

import time
from collections.abc import Mapping
from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

__all__ = ["TrainingProgress"]


class TrainingProgress:
    """Shows epoch, losses and time left. Silent on all processes but the first."""

    def __init__(self, *, epochs: int, first_epoch: int, steps_per_epoch: int, enabled: bool) -> None:
        self._console = Console(quiet=not enabled, highlight=False)
        self._epochs = epochs
        self._first_epoch = first_epoch
        self._bar = Progress(
            TextColumn("epoch {task.fields[epoch]}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[losses]}"),
            console=self._console,
            disable=not (enabled and self._console.is_terminal),
        )
        self._task = self._bar.add_task(
            "", total=epochs * steps_per_epoch, completed=first_epoch * steps_per_epoch, epoch="", losses=""
        )
        self._started = time.monotonic()

    def __enter__(self) -> TrainingProgress:
        self._bar.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> None:
        self._bar.stop()

    def step(self, epoch: int) -> None:
        """Counts a step of an epoch, counted from 1."""
        self._bar.update(self._task, advance=1, epoch=f"{epoch}/{self._epochs}")

    def losses(self, means: Mapping[str, float]) -> None:
        """Shows the newest means."""
        self._bar.update(self._task, losses=_written(means))

    def epoch(self, epoch: int, means: Mapping[str, float]) -> None:
        """Writes a line about a finished epoch, counted from 1, where there is no bar."""
        if self._bar.disable:
            done = epoch - self._first_epoch
            left = (time.monotonic() - self._started) / done * (self._epochs - epoch)
            self._console.print(f"epoch {epoch}/{self._epochs}  {_written(means)}  {_duration(left)} left")


def _written(means: Mapping[str, float]) -> str:
    return "  ".join(f"{name.replace('_', ' ')} {value:.3f}" for name, value in means.items())


def _duration(seconds: float) -> str:
    minutes, seconds = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02d}:{seconds:02d}"
