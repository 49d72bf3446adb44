"""Bundles on disk and which of them serve: finding, verifying, publishing, retiring."""

from muserve_server.repository.repository import ModelEntry, Repository

__all__ = ["ModelEntry", "Repository"]
