"""Takes the contract into the distribution: from proto/ in a checkout, from beside this file in an sdist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ContractHook(BuildHookInterface[Any]):
    """Adds the package `muserve`, with the .proto files inside it."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the files, unless they are linked to for development."""
        if version == "editable":
            return
        root = Path(self.root)
        if (root / "muserve").is_dir():
            build_data["force_include"][str(root / "muserve")] = "muserve"
        else:
            proto = root.parents[1] / "proto"
            build_data["force_include"] |= {
                str(proto / "python" / "muserve"): "muserve",
                str(proto / "muserve"): "muserve/protos/muserve",
                str(proto / "inference"): "muserve/protos/inference",
                str(proto / "google"): "muserve/protos/google",
            }
