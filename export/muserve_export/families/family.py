"""What a family is: how to load its data, train on them, write a bundle of what was trained, and measure it.

A family says what is its own. The heads of the three commands, which are the same for all, are
`training.train.train_family`, `bundling.export.export_run` and `measuring.evaluate.evaluate_bundle`.

A package adds a family by an entry point of the group "muserve.families" that names a `Family`:

    [project.entry-points."muserve.families"]
    sketch = "acme_sketch.family:FAMILY"

That module is imported for every `--help`, so it must not import torch: `FamilyPackage` sees to that.
"""

from __future__ import annotations

import importlib
import importlib.util
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from muserve_export.training.config import TrainingConfig

if TYPE_CHECKING:  # these import torch, which --help must not wait for
    from lightning_fabric import Fabric

    from muserve_export.bundling import BundlePlan, GraphsPlan
    from muserve_export.measuring import Figures
    from muserve_export.training.loop import Learner, TrainingSet
    from muserve_export.training.trained import TrainedModel

__all__ = ["Data", "Family", "FamilyPackage"]


class Data(Protocol):
    """A data set, in whatever form suits the family."""

    @property
    def sha256(self) -> str:
        """Digest of the data and their split. A run resumes, exports and is measured with the same data only."""


class Family(Protocol):
    """One family of generators. Config and data are its own types, which the heads only hand on."""

    @property
    def name(self) -> str:
        """As the command line, runs and manifests name it: "digits". The name of its entry point."""

    @property
    def summary(self) -> str:
        """What it trains, in one line for --help: "a GAN on small images"."""

    @property
    def config(self) -> type[TrainingConfig]:
        """Its settings: a frozen dataclass whose fields are made with `muserve.configuration.option`."""

    @property
    def recipes(self) -> Path:
        """Folder of its recipes: TOML files of settings, whose first line is a comment that describes them."""

    @property
    def sources(self) -> str:
        """What `muserve-export data --source` takes, for --help; empty if there is no `collect`."""

    @property
    def has_details(self) -> bool:
        """Whether `measure` gives rows for `evaluate --details`."""

    def load_data(self, config: Any) -> Data:
        """Loads the data set that a configuration names.

        Raises:
            DataError: It is missing, unreadable or too small.
        """

    def learner(self, fabric: Fabric, config: Any, data: Any) -> tuple[Learner, TrainingSet]:
        """Builds the networks, set up with Fabric, and the items that they learn from."""

    def plan(self, trained: TrainedModel[Any, Any]) -> BundlePlan | GraphsPlan:
        """Plans the bundle of a trained model: its graphs, manifest, golden requests and samples."""

    def measure(self, folder: Path, config: Any, data: Any, part: str) -> Figures:
        """Measures a bundle through the code that serves it.

        Args:
            folder: The bundle.
            config: The settings that it was trained with, but for the data.
            data: What to measure against, as `load_data` returned it for `config`.
            part: "validation" while choosing, "test" to report.

        Raises:
            DataError: Nothing can be measured with these data.
        """

    def collect(self, destination: Path, sources: Sequence[Path]) -> object:
        """Makes the data of the bundled model, where `sources` says that it can; returns a summary for people."""


@dataclass(frozen=True)
class FamilyPackage:
    """A family whose parts are modules of a package. Each is imported when it is first needed.

    The package has the modules `data` (`load_data`, and `collect` if there are `sources`), `train` (`make_learner`),
    `export` (`plan_bundle`) and `evaluate` (`measure`), and the folder `recipes`. The functions take what the methods
    of `Family` take.
    """

    name: str
    """See `Family`."""
    summary: str
    """See `Family`."""
    config: type[TrainingConfig]
    """See `Family`."""
    package: str
    """Name of the package: `__name__` in its __init__.py."""
    sources: str = ""
    """See `Family`."""
    has_details: bool = False
    """See `Family`."""
    baselines: Mapping[str, str] = field(default_factory=dict)
    """Packages of published baselines, by the setting `architecture` that selects them. They hold what differs."""

    @cached_property
    def recipes(self) -> Path:
        """The folder `recipes` of the package."""
        spec = importlib.util.find_spec(self.package)
        folders = (spec.submodule_search_locations if spec else None) or ["."]
        return Path(folders[0]) / "recipes"

    def load_data(self, config: Any) -> Data:
        """Calls `data.load_data`."""
        data: Data = self._module("data", config).load_data(config)
        return data

    def learner(self, fabric: Fabric, config: Any, data: Any) -> tuple[Learner, TrainingSet]:
        """Calls `train.make_learner`."""
        made: tuple[Learner, TrainingSet] = self._module("train", config).make_learner(fabric, config, data)
        return made

    def plan(self, trained: TrainedModel[Any, Any]) -> BundlePlan | GraphsPlan:
        """Calls `export.plan_bundle`."""
        plan: BundlePlan | GraphsPlan = self._module("export", trained.config).plan_bundle(trained)
        return plan

    def measure(self, folder: Path, config: Any, data: Any, part: str) -> Figures:
        """Calls `evaluate.measure`."""
        figures: Figures = self._module("evaluate", config).measure(folder, config, data, part)
        return figures

    def collect(self, destination: Path, sources: Sequence[Path]) -> object:
        """Calls `data.collect`."""
        return self._module("data").collect(destination, sources)

    def _module(self, name: str, config: Any = None) -> Any:
        baseline = self.baselines.get(getattr(config, "architecture", ""), "")
        if baseline and importlib.util.find_spec(f"{baseline}.{name}"):
            return importlib.import_module(f"{baseline}.{name}")
        return importlib.import_module(f"{self.package}.{name}")
