"""Recipes: TOML files of settings that lie in a family's own folder."""

from __future__ import annotations

from pathlib import Path

from muserve.configuration import ConfigurationError, nearest
from muserve_export.families.family import Family
from muserve_export.families.registry import installed_families

__all__ = ["DEFAULT_RECIPE", "describe_recipe", "recipe_names", "recipe_path"]

DEFAULT_RECIPE = "tutorial"
"""What is trained where no recipe is named."""


def recipe_names(family: Family | str) -> list[str]:
    """Returns the names of a family's recipes.

    Args:
        family: A family, or the name of one that is installed.
    """
    return sorted(path.stem for path in _family(family).recipes.glob("*.toml"))


def recipe_path(family: Family | str, recipe: str) -> Path:
    """Finds a recipe by name, or takes a path to a TOML file of one's own.

    Args:
        family: A family, or the name of one that is installed.
        recipe: A name, or a path that ends in .toml.

    Raises:
        ConfigurationError: There is no such recipe.
    """
    if recipe.endswith(".toml"):
        return Path(recipe)
    names = recipe_names(family)
    if recipe not in names:
        raise ConfigurationError(
            f"unknown recipe {recipe!r}; {nearest(recipe, names)} A path that ends in .toml works too"
        )
    return _family(family).recipes / f"{recipe}.toml"


def describe_recipe(path: Path) -> str:
    """Returns what a recipe says of itself in its first line, a comment; empty if that is none.

    Raises:
        ConfigurationError: It cannot be read.
    """
    try:
        first = path.read_text(encoding="utf-8").partition("\n")[0]
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigurationError(f"{path}: cannot be read as text ({error})") from error
    return first.removeprefix("#").strip() if first.startswith("#") else ""


def _family(family: Family | str) -> Family:
    return installed_families().named(family) if isinstance(family, str) else family
