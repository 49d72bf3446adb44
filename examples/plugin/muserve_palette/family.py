"""The family: where its parts are. Imported for every `--help`, so without torch."""

from __future__ import annotations

from muserve_export.families import FamilyPackage
from muserve_palette.config import PaletteConfig

__all__ = ["FAMILY"]

FAMILY = FamilyPackage("palette", "a VAE of colour palettes for mood words", PaletteConfig, "muserve_palette")
