"""What can be set on every training run."""

from __future__ import annotations

from dataclasses import dataclass, fields
from typing import ClassVar, Self

from muserve.configuration import build, option
from muserve.v1 import manifest_pb2

__all__ = ["TrainingConfig"]


@dataclass(frozen=True)
class TrainingConfig:
    """The settings that all families share; each family adds its own. A recipe is a TOML file of them."""

    built_in_data: ClassVar[tuple[str, ...]] = ("",)
    """Values of `data` that are not the user's own: every installation has these data, or can make them."""

    data: str = option("", "where the training data is; empty takes the family's own package")
    seed: int = option(0, "seed of weights, order of the data and noise", minimum=0, maximum=2**53 - 1)
    epochs: int = option(1, "passes over the training data", minimum=1)
    batch_size: int = option(64, "items in one step of one process", unit="items", minimum=1)
    log_every_steps: int = option(50, "about how many steps a row of metrics.csv averages", unit="steps", minimum=1)
    sheet_every_epochs: int = option(
        10, "how often a sheet of samples is drawn; 0 only at the end", unit="epochs", minimum=0
    )
    checkpoint_every_epochs: int = option(1, "how often the run is saved", unit="epochs", minimum=1)
    device: str = option("auto", "where to train", choices=("auto", "cpu", "cuda"))
    devices: int = option(1, "devices of this machine to train on; torchrun's own number wins", minimum=1)
    precision: str = option("32-true", "arithmetic, as Lightning Fabric names it", choices=("32-true", "bf16-mixed"))

    @property
    def epochs_may_change(self) -> bool:
        """Whether a resumed run may have other epochs; not where a schedule is stretched over them."""
        return True

    @property
    def has_own_data(self) -> bool:
        """Whether the data are the user's own."""
        return self.data not in self.built_in_data

    @property
    def teaches_parts(self) -> bool:
        """Whether a step may teach only part of a network: several processes must then find out which."""
        return False

    def check_init_from(self) -> None:
        """Checks that a run may start from the weights of another.

        Raises:
            RunError: It may not; says why.
        """

    @classmethod
    def of_bundle(cls, manifest: manifest_pb2.ModelManifest, data: str) -> Self:
        """Returns the settings that a bundle was trained with, but for the data, to load what it is measured against.

        Args:
            manifest: The bundle's.
            data: The data to measure against, as the setting of this name.

        Raises:
            ConfigurationError: The data do not fit the settings.
        """
        names = {field.name for field in fields(cls)}
        values = {name: value for name, value in manifest.training.items() if name in names}
        return build(cls, values, {"data": data})
