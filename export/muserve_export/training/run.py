"""A run on disk: its configuration, checkpoints, metrics and sample sheets.

runs/digits-tutorial/
  config.toml        every value that the run was trained with
  metrics.csv        losses by step; metrics.png plots them
  samples/           sheets of samples, one an epoch: epoch-0010.png
  checkpoints/       epoch-0050.ckpt, the newest few
"""

from __future__ import annotations

import dataclasses
import json
import os
import pickle
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from lightning_fabric import Fabric

from muserve.bundle import NAME_PATTERN
from muserve.configuration import build, read_toml
from muserve_export.errors import RunError
from muserve_export.training.config import TrainingConfig

__all__ = ["RunFolder", "read_checkpoint", "replace_file"]

KEPT_CHECKPOINTS = 2
_MAY_CHANGE_ON_RESUME = frozenset({"epochs", "device", "log_every_steps", "sheet_every_epochs"})


@dataclass(frozen=True)
class RunFolder:
    """The folder of one run."""

    path: Path

    @property
    def metrics_csv(self) -> Path:
        """The metrics log."""
        return self.path / "metrics.csv"

    @property
    def metrics_plot(self) -> Path:
        """The plot of the metrics log."""
        return self.path / "metrics.png"

    def sheet(self, epoch: int) -> Path:
        """The sheet of samples drawn after an epoch, counted from 1."""
        return self.path / "samples" / f"epoch-{epoch:04d}.png"

    def checkpoints(self) -> list[Path]:
        """The checkpoints, oldest first."""
        found = (self.path / "checkpoints").glob("epoch-*.ckpt")
        return sorted(found, key=lambda path: int(path.stem.removeprefix("epoch-")))

    def newest_checkpoint(self) -> Path:
        """The newest checkpoint.

        Raises:
            RunError: There is none.
        """
        found = self.checkpoints()
        if not found:
            raise RunError(f"{self.path} has no checkpoint; train it first: muserve-export train ... --out {self.path}")
        return found[-1]

    def values(self) -> dict[str, Any]:
        """Reads the values that the run was trained with.

        Raises:
            ConfigurationError: They cannot be read; this is no run.
        """
        values = read_toml(self.path / "config.toml")
        return {name: value for name, value in values.items() if name not in ("family", "recipe")}

    def origin(self) -> tuple[str, str]:
        """Reads which family and recipe the run was begun with.

        Raises:
            ConfigurationError: They cannot be read; this is no run.
        """
        values = read_toml(self.path / "config.toml")
        return str(values.get("family", "")), str(values.get("recipe", ""))

    def finished(self, config: TrainingConfig, data_sha256: str) -> dict[str, Any]:
        """Reads the newest checkpoint, to export it.

        Args:
            config: What the run was trained with.
            data_sha256: Digest of the data as it is now.

        Raises:
            RunError: There is none, it is broken, or the data has changed.
        """
        checkpoint = read_checkpoint(self.path)
        if checkpoint.get("data_sha256") != data_sha256:
            raise RunError(
                f"{config.data or 'the data'} is not what {self.path} was trained on; bring it back to export"
            )
        return checkpoint

    def described(self, config: TrainingConfig, checkpoint: Mapping[str, Any]) -> dict[str, Any]:
        """Says how a checkpoint was trained, for a manifest.

        Of a user's path only the last name is kept: the rest is nobody's business.
        """
        family, recipe = self.origin()
        reached = {"epochs": checkpoint["epoch"], "steps": checkpoint["step"], "data_sha256": checkpoint["data_sha256"]}
        values = {**dataclasses.asdict(config), "data": Path(config.data).name}
        return {**values, "family": family, "recipe": recipe, **reached}

    def begin(self, family: str, recipe: str, config: TrainingConfig) -> None:
        """Makes the folder of a new run and writes its configuration.

        Args:
            family: The family's name.
            recipe: The recipe's name; the values may differ from it.
            config: Every value.

        Raises:
            RunError: There is a run already.
        """
        if self.checkpoints() or (self.path / "config.toml").exists():
            raise RunError(f"{self.path} holds a run already; go on with it by --resume, or choose another --out")
        (self.path / "samples").mkdir(parents=True, exist_ok=True)
        (self.path / "checkpoints").mkdir(exist_ok=True)
        self._write_config(family, recipe, config)

    def resume(self, family: str, config: TrainingConfig) -> None:
        """Checks that a run can go on with a configuration, and writes down what changed.

        Raises:
            RunError: It is a run of another family, or a value changed that would make it another run.
        """
        begun_by, recipe = self.origin()
        if begun_by != family:
            raise RunError(f"{self.path} is a run of family {begun_by!r}, not {family!r}")
        before = dataclasses.asdict(build(type(config), self.values()))
        for name, value in dataclasses.asdict(config).items():
            may_change = name in _MAY_CHANGE_ON_RESUME and (name != "epochs" or config.epochs_may_change)
            if value != before[name] and not may_change:
                raise RunError(
                    f"{name} is {value!r}, but {self.path} was trained with {before[name]!r}; leave it out to resume, "
                    f"or start another run from these weights: --init-from {self.path}"
                )
        if self.checkpoints() and config.epochs < (done := read_checkpoint(self.path)["epoch"]):
            raise RunError(f"epochs is {config.epochs}, but {self.path} has done {done} already")
        (self.path / "samples").mkdir(exist_ok=True)
        (self.path / "checkpoints").mkdir(exist_ok=True)
        self._write_config(family, recipe, config)

    def save_checkpoint(self, fabric: Fabric, epoch: int, state: Mapping[str, Any]) -> None:
        """Saves a checkpoint in one step, so that a kill leaves the one before whole. Called on every process."""
        path = self.path / "checkpoints" / f"epoch-{epoch:04d}.ckpt"
        unfinished = path.with_suffix(".part")
        fabric.save(unfinished, dict(state))
        if fabric.is_global_zero:
            os.replace(unfinished, path)  # noqa: PTH105 - atomic on every platform
            for old in self.checkpoints()[:-KEPT_CHECKPOINTS]:
                old.unlink()
        fabric.barrier()

    def _write_config(self, family: str, recipe: str, config: TrainingConfig) -> None:
        # Every value is text, number, boolean or a list of these, which JSON and TOML write alike.
        values = {"family": family, "recipe": recipe, **dataclasses.asdict(config)}
        lines = [f"{name} = {json.dumps(value, ensure_ascii=False)}" for name, value in values.items()]
        replace_file(self.path / "config.toml", "\n".join(lines) + "\n")


def replace_file(path: Path, text: str) -> None:
    """Writes a text file in one step, so that a kill leaves the old one or the new one."""
    unfinished = path.with_name(f".{path.name}.part")
    unfinished.write_text(text, encoding="utf-8")
    os.replace(unfinished, path)  # noqa: PTH105 - atomic on every platform


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Reads a checkpoint onto the CPU. Never runs code from it.

    Args:
        path: A checkpoint, or a run folder, whose newest one is taken.

    Raises:
        RunError: It is missing or broken.
    """
    if path.is_dir():
        path = RunFolder(path).newest_checkpoint()
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except FileNotFoundError as error:
        raise RunError(f"{path}: no such checkpoint or run folder") from error
    except (OSError, RuntimeError, EOFError, pickle.UnpicklingError, ValueError) as error:
        raise RunError(f"{path}: not a whole checkpoint ({error}); remove it to go on from the one before") from error
    if not isinstance(content, dict) or not NAME_PATTERN.fullmatch(str(content.get("family", ""))):
        raise RunError(f"{path}: not a checkpoint of muserve-export")
    return content
