"""The training loop of every family: epochs, seeds, logs, sheets, checkpoints, exact resume, several devices.

Every random draw of a step comes from (seed, step, process) alone, and the order of the data from (seed, epoch). So a
run that was killed and resumed gives the same weights as one that was not, without saving any generator's state.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor

from muserve_export.errors import RunError
from muserve_export.training.config import TrainingConfig
from muserve_export.training.metrics import Averages, MetricsLog, plot_metrics
from muserve_export.training.progress import TrainingProgress
from muserve_export.training.run import RunFolder, read_checkpoint
from muserve_server.tasks.media.png import encode_png

__all__ = ["BeginsAnew", "Learner", "TrainingSet", "epoch_batches", "init_weights", "make_fabric", "train"]


class TrainingSet(Protocol):
    """Items to learn from, held in memory."""

    def __len__(self) -> int:
        """Number of items."""

    def batch(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Returns items by index, int64 [item], as tensors [item, ...] on the CPU."""


class Learner(Protocol):
    """What a family gives the loop: its networks and optimizers, and what one step does with them."""

    def modules(self) -> Mapping[str, Any]:
        """Networks by name, as `Fabric.setup` returned them. These are what --init-from and export read."""

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name, as `Fabric.setup` returned them."""

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:
        """Learns from one batch.

        Args:
            batch: As the training set gave it, already on the device.
            step: Number of this step in the run, from 1.
            steps: Number of steps in the run.

        Returns:
            Scalar losses by name.
        """

    def sheet(self) -> NDArray[np.uint8] | None:
        """Draws a sheet of samples, uint8 [height, width, channel]; None if the family has no picture to show."""


@runtime_checkable
class BeginsAnew(Protocol):
    """A learner that keeps more than weights, such as the best ones so far."""

    def begin_anew(self) -> None:
        """Called once its weights have come from another run: forgets what it knows of weights before."""


def make_fabric(config: TrainingConfig) -> Fabric:
    """Makes and launches the Fabric of a run; under torchrun it joins torchrun's processes.

    Raises:
        RunError: The device is not there.
    """
    devices, nodes = config.devices, 1
    if torch.distributed.is_torchelastic_launched():
        devices = int(os.environ["LOCAL_WORLD_SIZE"])
        nodes = int(os.environ["WORLD_SIZE"]) // devices
    several = devices * nodes > 1
    try:
        fabric = Fabric(
            accelerator=config.device,
            strategy="ddp_find_unused_parameters_true" if several and config.teaches_parts else "auto",
            devices=devices,
            num_nodes=nodes,
            precision=config.precision,  # type: ignore[arg-type]
        )
        fabric.launch()
    except (RuntimeError, ValueError) as error:
        raise RunError(f"device {config.device!r} with {devices} devices cannot be had here: {error}") from error
    return fabric


def train(
    fabric: Fabric,
    family: str,
    learner: Learner,
    data: TrainingSet,
    config: TrainingConfig,
    run: RunFolder,
    *,
    data_sha256: str,
) -> None:
    """Trains until `config.epochs`, going on from the run's newest checkpoint if it has one.

    Args:
        fabric: Launched; `learner` was set up with it.
        family: Written into the checkpoints.
        learner: What to train.
        data: What to train on.
        config: How.
        run: Where to write; begun or resumed.
        data_sha256: Digest of the data and its split. A run goes on with the same data only.

    Raises:
        DivergedError: A loss is not finite.
        RunError: The checkpoint does not fit the build, the data or the number of processes.
    """
    state: dict[str, Any] = {**learner.modules(), **learner.optimizers()}
    fixed: dict[str, Any] = {"family": family, "data_sha256": data_sha256, "processes": fabric.world_size}
    done_epochs, step, seconds = _restore(fabric, run, state, fixed)
    log, averages = MetricsLog(run.metrics_csv), Averages()
    if fabric.is_global_zero:
        log.cut(done_epochs)
    steps_per_epoch = sum(1 for _ in epoch_batches(len(data), config, 0, fabric.world_size, fabric.global_rank))
    clock = time.monotonic() - seconds
    with TrainingProgress(
        epochs=config.epochs,
        first_epoch=done_epochs,
        steps_per_epoch=steps_per_epoch,
        enabled=fabric.is_global_zero,
    ) as progress:
        for epoch in range(done_epochs + 1, config.epochs + 1):
            means: dict[str, float] = {}
            for number, indices in enumerate(
                epoch_batches(len(data), config, epoch, fabric.world_size, fabric.global_rank), start=1
            ):
                torch.manual_seed(_draw(config.seed, step, fabric.global_rank))
                batch = tuple(fabric.to_device(tensor) for tensor in data.batch(indices))
                step += 1
                averages.add(learner.step(batch, step, config.epochs * steps_per_epoch))
                progress.step(epoch)
                if _row_is_due(number, steps_per_epoch, config.log_every_steps):
                    means = averages.take()
                    progress.losses(means)
                    if fabric.is_global_zero:
                        log.write(epoch, step, time.monotonic() - clock, means)
            progress.epoch(epoch, means)
            if fabric.is_global_zero and _sheet_is_due(epoch, config):
                _write_pictures(learner, run, epoch)
            if epoch % config.checkpoint_every_epochs == 0 or epoch == config.epochs:
                reached = {"epoch": epoch, "step": step, "seconds": time.monotonic() - clock}
                run.save_checkpoint(fabric, epoch, state | reached | fixed)


def epoch_batches(items: int, config: TrainingConfig, epoch: int, processes: int, process: int) -> Iterator[Tensor]:
    """Yields the indices of one process's batches of an epoch: int64 [item].

    Each process gets the same number of batches: the order is filled up from its own beginning. The last may be small.
    """
    generator = torch.Generator().manual_seed(_draw(config.seed, epoch))
    order = torch.randperm(items, generator=generator)
    order = torch.cat([order, order[: -items % processes]])
    yield from order[process::processes].split(config.batch_size)


def init_weights(learner: Learner, path: Path) -> None:
    """Starts from the weights of another run; its optimizers and steps are left behind.

    Args:
        learner: Whose networks to fill.
        path: A checkpoint or a run folder.

    Raises:
        RunError: The checkpoint is broken, or has other networks.
    """
    checkpoint = read_checkpoint(path)
    for name, module in learner.modules().items():
        # A run without averaged weights lends its own.
        source = name if name in checkpoint else name.removesuffix("_average")
        if source not in checkpoint:
            raise RunError(f"init_from: {path} has no network {name!r}; it comes from family {checkpoint['family']!r}")
        try:
            module.load_state_dict(checkpoint[source])
        except RuntimeError as error:
            raise RunError(
                f"init_from: {path}: {name} has another shape; train with its own recipe: {error}"
            ) from error


def _restore(fabric: Fabric, run: RunFolder, state: dict[str, Any], fixed: Mapping[str, Any]) -> tuple[int, int, float]:
    """Fills the state from the newest checkpoint; returns finished epochs, steps and seconds."""
    if not run.checkpoints():
        return 0, 0, 0.0
    path = run.newest_checkpoint()
    checkpoint = read_checkpoint(path)
    for name, value in fixed.items():
        if checkpoint.get(name) != value:
            raise RunError(
                f"{path}: {name} is {checkpoint.get(name)!r}, now it is {value!r}; "
                f"that would be another run: begin one from these weights with --init-from {run.path}"
            )
    for name, part in state.items():
        try:
            part.load_state_dict(checkpoint[name])
        except (KeyError, RuntimeError, ValueError) as error:
            raise RunError(f"{path}: {name} does not fit this build ({error})") from error
    fabric.barrier()
    return checkpoint["epoch"], checkpoint["step"], checkpoint["seconds"]


def _row_is_due(number: int, steps_per_epoch: int, log_every_steps: int) -> bool:
    """Whether a row ends at a step of an epoch, counted from 1: an epoch has whole rows of nearly equal length."""
    rows = max(1, round(steps_per_epoch / log_every_steps))
    return number * rows // steps_per_epoch != (number - 1) * rows // steps_per_epoch


def _sheet_is_due(epoch: int, config: TrainingConfig) -> bool:
    return epoch == config.epochs or bool(config.sheet_every_epochs and epoch % config.sheet_every_epochs == 0)


def _write_pictures(learner: Learner, run: RunFolder, epoch: int) -> None:
    sheet = learner.sheet()
    if sheet is not None:
        run.sheet(epoch).write_bytes(encode_png(sheet, {"run": run.path.name, "epoch": epoch}))
    plot_metrics(run.metrics_csv, run.metrics_plot)


def _draw(*key: int) -> int:
    """Turns a key into a seed whose neighbours are unlike it."""
    return int(np.random.SeedSequence(key).generate_state(1, np.uint64)[0] >> np.uint64(1))
