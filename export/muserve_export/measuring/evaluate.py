"""The head of `muserve-export evaluate`, for every family: which data, whether they fit the bundle, details as CSV."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

from muserve.bundle import read_bundle
from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError, ExportError
from muserve_export.families import Family
from muserve_server.tasks import installed_kinds

__all__ = ["evaluate_bundle", "family_of"]


def family_of(folder: Path) -> str:
    """Reads which family a bundle was trained by; "" if its manifest does not say.

    Raises:
        BundleError: The manifest cannot be read.
    """
    return _manifest(folder).training.get("family", "")


def evaluate_bundle(
    family: Family, folder: Path, *, data: str | None = None, part: str = "test", details: Path | None = None
) -> Sequence[manifest_pb2.Metric]:
    """Measures a bundle through the code that serves it.

    Args:
        family: Which the bundle was trained by.
        folder: The bundle.
        data: Data to measure against, as the family's setting `data`; None takes what the bundle was trained on.
        part: "validation" while choosing, "test" to report.
        details: Where to write the figures behind the table, as CSV.

    Raises:
        DataError: Nothing can be measured with these data.
        BundleError: The bundle cannot be opened.
    """
    if details and not family.has_details:
        raise ExportError(f"{folder}: family {family.name!r} has no figures behind its table; leave out --details")
    manifest = _manifest(folder)
    trained_on = manifest.training.get("data", "")
    if data is None and (trained_on not in family.config.built_in_data or "data_sha256" not in manifest.training):
        raise DataError(f"{folder} was not trained on the bundled data; name its data: --data {trained_on or 'PATH'}")
    config = family.config.of_bundle(manifest, trained_on if data is None else data)
    loaded = family.load_data(config)
    if data is None and loaded.sha256 != manifest.training["data_sha256"]:
        raise DataError(f"{folder} was trained on other data or another split; its held-out part cannot be known")
    figures = family.measure(folder, config, loaded, part)
    if details:
        _write_details(details, figures.details)
    return figures.metrics


def _manifest(folder: Path) -> manifest_pb2.ModelManifest:
    return read_bundle(folder, import_protos=installed_kinds().named).manifest


def _write_details(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]) if rows else [], lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
