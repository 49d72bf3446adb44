"""Takes the contract into the distribution: from proto/ in a checkout, from beside this file in an sdist."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hatchling.builders.hooks.plugin.interface import BuildHookInterface


class ContractHook(BuildHookInterface[Any]):
    """Adds the package `muserve`, the .proto files inside it, and the licence."""

    def initialize(self, version: str, build_data: dict[str, Any]) -> None:
        """Adds the files, unless they are linked to for development."""
        if version == "editable":
            return
        root = Path(self.root)
        checkout = root.parents[1]
        proto = checkout / "proto"
        if proto.is_dir():
            build_data["force_include"] |= {
                str(proto / "python" / "muserve"): "muserve",
                str(proto / "muserve"): "muserve/protos/muserve",
            }
            if self.target_name == "sdist":
                build_data["force_include"][str(checkout / "LICENSE")] = "LICENSE"
        else:
            build_data["force_include"][str(root / "muserve")] = "muserve"
