"""What media say of their making."""

from __future__ import annotations

from typing import Any

from muserve import __version__
from muserve.bundle import Bundle

__all__ = ["provenance"]


def provenance(bundle: Bundle, **metadata: Any) -> dict[str, Any]:
    """Returns what is written into a medium: model, version, digest, the given metadata and the software, in order.

    Args:
        bundle: The bundle that made it.
        metadata: Seed, sample, and what else makes the same medium again.
    """
    manifest = bundle.manifest
    return {
        "model": manifest.name,
        "version": manifest.version,
        "digest": bundle.digest,
        **metadata,
        "software": f"Muserve {__version__}",
    }
