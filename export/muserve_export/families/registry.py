"""Which families are installed: the entry points of the group "muserve.families". Broken ones are passed over."""

from __future__ import annotations

import argparse
from collections.abc import Iterable
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from pathlib import Path
from typing import Any

from muserve.bundle import NAME_PATTERN, NAME_RULE
from muserve.configuration import ConfigurationError, add_flags, nearest, option_names
from muserve.plugins import PluginError, Plugins, find_plugins
from muserve_export.families.family import Family
from muserve_export.training.config import TrainingConfig

__all__ = ["GROUP", "Families", "add_train_flags", "find_families", "installed_families"]

GROUP = "muserve.families"
_OWN_PACKAGE = "muserve_export."
_MEMBERS = ("summary", "recipes", "sources", "has_details", "load_data", "learner", "plan", "measure")


class Families(Plugins[Family]):
    """Families by name, in alphabetical order."""

    def named(self, name: str) -> Family:
        """Returns a family.

        Raises:
            ConfigurationError: It is not installed, or cannot be used; says how a family is installed.
        """
        if name in self:
            return self[name]
        if name in self.problems:
            raise ConfigurationError(f"family {name!r} cannot be used here: {self.problems[name]}")
        raise ConfigurationError(
            f"unknown family {name!r}; {nearest(name, list(self))}. A family of another package comes with "
            f"its installation (an entry point {name!r} in the group {GROUP!r})"
        )


@cache
def installed_families() -> Families:
    """Returns the families of this environment. Looked for once a process."""
    return find_families(entry_points(group=GROUP))


def find_families(found: Iterable[EntryPoint]) -> Families:
    """Loads and checks entry points.

    Args:
        found: In any order. Where two clash, Muserve's own wins, else the first by its distribution's name.

    Returns:
        The families that can be used, and what is wrong with the others.
    """
    families = find_plugins(found, own_package=_OWN_PACKAGE, check=_checked)
    return Families(dict(sorted(families.items())), families.problems, families.origins)


def _checked(entry: EntryPoint, family: Any, _before: Plugins[Family]) -> Family:
    name, config = getattr(family, "name", None), getattr(family, "config", None)
    missing = [member for member in _MEMBERS if not hasattr(family, member)]
    if not name or missing:
        raise PluginError(
            f"{entry.value} is no muserve_export.families.Family: it has no {', '.join(missing) or 'name'}"
        )
    if name != entry.name:
        raise PluginError(f"the family calls itself {name!r}; entry point and family must have the same name")
    if not NAME_PATTERN.fullmatch(entry.name):
        raise PluginError(f"the name is {name!r}; allowed: {NAME_RULE}")
    if not (isinstance(config, type) and issubclass(config, TrainingConfig)):
        raise PluginError(f"its config is {config!r}; it must be a subclass of TrainingConfig")
    if family.sources and not hasattr(family, "collect"):
        raise PluginError("it has sources, but no collect")
    _try_flags(config)
    checked: Family = family
    return checked


def _try_flags(config: type[TrainingConfig]) -> None:
    """Adds the flags of `train` to a parser of its own, so that what is wrong with a family's shows here.

    Raises:
        PluginError: They cannot be added.
    """
    parser = argparse.ArgumentParser()
    parser.add_argument("family")
    try:
        add_train_flags(parser, config, recipes="")
        parser.format_help()
    except Exception as error:
        raise PluginError(f"the settings of its {config.__name__} cannot be flags of `train` ({error!r})") from error
    clashes = {"family", "run", "command"} & set(option_names(config))
    if clashes:
        raise PluginError(f"its {config.__name__} has the setting {clashes.pop()!r}, a name that the command needs")


def add_train_flags(parser: argparse.ArgumentParser, config: type[TrainingConfig], *, recipes: str) -> None:
    """Adds the flags of `muserve-export train` for a family with these settings."""
    parser.add_argument("--recipe", help=recipes.replace("%", "%%"))
    parser.add_argument("--out", type=Path, help="run folder (default: runs/<family>-<recipe>)")
    parser.add_argument("--resume", action="store_true", help="continue the run in --out from its last checkpoint")
    parser.add_argument(
        "--init-from", type=Path, metavar="PATH", help="initialise the weights from another run or checkpoint"
    )
    add_flags(parser, config)
