"""What a family is to the rest of export, and the list of them."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType

from muserve.configuration import ConfigurationError, nearest
from muserve.v1 import manifest_pb2
from muserve_export.training.config import TrainingConfig

__all__ = ["FAMILIES", "Family", "load_family", "recipe_names", "recipe_path"]

_RECIPES = Path(__file__).parents[1] / "recipes"

FAMILIES: Mapping[str, str] = MappingProxyType(
    {
        "answers": "a question-answer generator: a computing dictionary, or your own questions and answers",
        "digits": "a GAN on small images: handwritten digits, or your own",
        "forecast": "an LSTM that continues time series, with quantiles",
        "music": "a MuseGAN that writes and accompanies music: the bundled styles, or your own MIDI files",
        "translation": "a CycleGAN between two folders of images: satellite pictures and maps, or your own",
    }
)
"""Family name to what it makes. Each is the package `muserve_export.families.<name>`."""


@dataclass(frozen=True)
class Family:
    """One family's entry points. A family package offers it as `FAMILY`."""

    name: str
    """Its package's name."""
    config: type[TrainingConfig]
    """What can be set."""
    train: Callable[..., None]
    """train(fabric, config, run, init_from=None): trains, or goes on with a run."""
    export: Callable[..., Path]
    """export(run, destination, name=, version=, measure=, notes=): writes a bundle and returns its folder."""
    evaluate: Callable[..., Sequence[manifest_pb2.Metric]]
    """evaluate(folder, data=, part=): measures a bundle through the code that serves it.

    With `has_details` it takes details= too, a path to write the figures behind the table to, as CSV.
    """
    collect: Callable[[Path, Sequence[Path]], object] | None = None
    """collect(destination, sources): makes the data of the bundled model and returns what it says of them, as text.

    None if the family's data come with its packages.
    """
    has_details: bool = False
    """See `evaluate`."""


def load_family(name: str) -> Family:
    """Imports a family; torch comes with it.

    Raises:
        ConfigurationError: There is no such family.
    """
    if name not in FAMILIES:
        raise ConfigurationError(f"unknown family {name!r}; {nearest(name, list(FAMILIES))}")
    family: Family = importlib.import_module(f"muserve_export.families.{name}").FAMILY
    return family


def recipe_names(family: str) -> list[str]:
    """Returns the names of a family's recipes."""
    return sorted(path.stem for path in (_RECIPES / family).glob("*.toml"))


def recipe_path(family: str, recipe: str) -> Path:
    """Finds a recipe by name, or takes a path to a TOML file of one's own.

    Raises:
        ConfigurationError: There is no such recipe.
    """
    if recipe.endswith(".toml"):
        return Path(recipe)
    if recipe not in recipe_names(family):
        raise ConfigurationError(
            f"unknown recipe {recipe!r}; {nearest(recipe, recipe_names(family))} A path that ends in .toml works too"
        )
    return _RECIPES / family / f"{recipe}.toml"
