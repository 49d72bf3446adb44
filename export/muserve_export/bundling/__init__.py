"""Writes bundles: graphs with proven parity, golden requests, model card, manifest."""

from muserve_export.bundling.bundle import BundleDetails, BundlePlan, write_bundle
from muserve_export.bundling.graphs import GraphSource, tensor_spec
from muserve_export.bundling.loose import GraphsPlan

__all__ = ["BundleDetails", "BundlePlan", "GraphSource", "GraphsPlan", "tensor_spec", "write_bundle"]
