"""Families that still have heads of their own; goes once music and answers have moved to the Protocol."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muserve_export.families.family import FamilyPackage

__all__ = ["OldFamily"]


@dataclass(frozen=True, kw_only=True)
class OldFamily(FamilyPackage):
    """A family with heads of its own, each "module:function" of its package."""

    train: str
    """train(fabric, config, run, init_from=None)."""
    export: str
    """export(run, destination, name=, version=, measure=, notes=)."""
    evaluate: str
    """evaluate(folder, data=, part=, details=)."""
    make_data: str
    """make_data(destination, sources)."""

    def head(self, place: str) -> Any:
        """Imports one of the heads."""
        module, _, function = place.partition(":")
        return getattr(importlib.import_module(f"{self.package}.{module}"), function)

    def collect(self, destination: Path, sources: Sequence[Path]) -> object:
        """Calls `make_data`."""
        return self.head(self.make_data)(destination, sources)
