"""A trained model on its way into a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from torch import nn

from muserve_export.training.config import TrainingConfig

__all__ = ["TrainedModel"]

Config = TypeVar("Config", bound=TrainingConfig)
Data = TypeVar("Data")
Module = TypeVar("Module", bound=nn.Module)


@dataclass(frozen=True)
class TrainedModel(Generic[Config, Data]):
    """What a family plans a bundle from."""

    config: Config
    """What the run was trained with."""
    data: Data
    """What it was trained on."""
    checkpoint: Mapping[str, Any]
    """The run's newest: state dicts by the names of `Learner.modules`, and what the loop writes beside them."""

    def load(self, module: Module, name: str) -> Module:
        """Fills a module with trained weights, averaged ones where the run has them, for evaluation.

        Args:
            module: Built as the learner built it, on the CPU.
            name: Its name in `Learner.modules`.

        Returns:
            The module, in evaluation mode.
        """
        average = f"{name}_average"
        module.load_state_dict(self.checkpoint[average if average in self.checkpoint else name])
        return module.eval()
