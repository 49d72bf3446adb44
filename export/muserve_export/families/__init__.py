"""The model families. Each is a package with the same files: config, data, model, train, evaluate, export."""

from muserve_export.families.family import FAMILIES, Family, load_family, recipe_names, recipe_path

__all__ = ["FAMILIES", "Family", "load_family", "recipe_names", "recipe_path"]
