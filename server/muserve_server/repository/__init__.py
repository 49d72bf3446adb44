"""Bundles on disk and which of them serve: finding, verifying, publishing, retiring."""

from muserve_server.repository.entry import Lease, ModelEntry
from muserve_server.repository.repository import Repository

__all__ = ["Lease", "ModelEntry", "Repository"]
