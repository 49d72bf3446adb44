"""Which families are installed: the entry points of the group "muserve.families". Broken ones are passed over."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from importlib.metadata import EntryPoint, entry_points
from typing import Any

from muserve.bundle import NAME_PATTERN, NAME_RULE
from muserve.configuration import ConfigurationError, nearest
from muserve_export.families.family import Family
from muserve_export.training.config import TrainingConfig

__all__ = ["GROUP", "Families", "find_families", "installed_families"]

GROUP = "muserve.families"
_OWN_PACKAGE = "muserve_export."
_MEMBERS = ("summary", "recipes", "sources", "has_details", "load_data", "learner", "plan", "measure")


class FamilyError(Exception):
    """An entry point that names no usable family."""


class Families(Mapping[str, Family]):
    """Families by name, in alphabetical order."""

    def __init__(self, families: Iterable[Family], problems: Mapping[str, str] | None = None) -> None:
        """Stores its parts.

        Args:
            families: The families that can be used.
            problems: By the name of the entry point, why one cannot; the text names its distribution.
        """
        self._families = {family.name: family for family in sorted(families, key=lambda family: family.name)}
        self.problems: Mapping[str, str] = problems or {}

    def __getitem__(self, name: str) -> Family:
        return self._families[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._families)

    def __len__(self) -> int:
        return len(self._families)

    def named(self, name: str) -> Family:
        """Returns a family.

        Raises:
            ConfigurationError: It is not installed, or cannot be used; says how a family is installed.
        """
        if name in self._families:
            return self._families[name]
        if name in self.problems:
            raise ConfigurationError(f"family {name!r} cannot be used here: {self.problems[name]}")
        raise ConfigurationError(
            f"unknown family {name!r}; {nearest(name, list(self._families))}. A family of another package comes with "
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
    families: dict[str, Family] = {}
    origins: dict[str, str] = {}
    problems: dict[str, str] = {}
    for entry in sorted(
        found, key=lambda entry: (not entry.value.startswith(_OWN_PACKAGE), _origin(entry), entry.name)
    ):
        try:
            family = _load(entry)
            if entry.name in families:
                raise FamilyError(
                    f"the distribution {origins[entry.name]!r} brings a family of this name already; uninstall one"
                )
        except Exception as error:  # noqa: BLE001 - a package's import may raise anything, and must not stop the others
            reason = str(error) if isinstance(error, FamilyError) else f"its import failed ({error!r})"
            name = entry.name if entry.name not in families else f"{entry.name} of {_origin(entry)}"
            problems[name] = f"entry point {entry.name!r} of the distribution {_origin(entry)!r}: {reason}"
        else:
            families[entry.name] = family
            origins[entry.name] = _origin(entry)
    return Families(families.values(), problems)


def _origin(entry: EntryPoint) -> str:
    return entry.dist.name if entry.dist else "unknown"


def _load(entry: EntryPoint) -> Family:
    family: Any = entry.load()
    name, config = getattr(family, "name", None), getattr(family, "config", None)
    missing = [member for member in _MEMBERS if not hasattr(family, member)]
    if not name or missing:
        raise FamilyError(
            f"{entry.value} is no muserve_export.families.Family: it has no {', '.join(missing) or 'name'}"
        )
    if name != entry.name:
        raise FamilyError(f"the family calls itself {name!r}; entry point and family must have the same name")
    if not NAME_PATTERN.fullmatch(entry.name):
        raise FamilyError(f"the name is {name!r}; allowed: {NAME_RULE}")
    if not (isinstance(config, type) and issubclass(config, TrainingConfig)):
        raise FamilyError(f"its config is {config!r}; it must be a subclass of TrainingConfig")
    if family.sources and not hasattr(family, "collect"):
        raise FamilyError("it has sources, but no collect")
    checked: Family = family
    return checked
