"""Writes bundles: graphs with proven parity, golden requests, model card, manifest."""

from muserve_export.bundling.bundle import BundlePlan, write_bundle
from muserve_export.bundling.graphs import GraphSource

__all__ = ["BundlePlan", "GraphSource", "write_bundle"]
