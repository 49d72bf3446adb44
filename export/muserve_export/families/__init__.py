"""The families of generators: what one is, and which are installed.

Each of the house's own is a package with the same files: config, data, model, train, evaluate, export, recipes.
"""

from muserve_export.families.family import Data, Family, FamilyPackage
from muserve_export.families.recipes import DEFAULT_RECIPE, describe_recipe, recipe_names, recipe_path
from muserve_export.families.registry import Families, find_families, installed_families

__all__ = [
    "DEFAULT_RECIPE",
    "Data",
    "Families",
    "Family",
    "FamilyPackage",
    "describe_recipe",
    "find_families",
    "installed_families",
    "recipe_names",
    "recipe_path",
]
