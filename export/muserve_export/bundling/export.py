"""The head of `muserve-export export`, for every family: run, data, checkpoint, plan, bundle."""

from __future__ import annotations

from pathlib import Path

from muserve.configuration import build
from muserve_export.bundling.bundle import BundleDetails, write_bundle
from muserve_export.bundling.loose import GraphsPlan, write_loose_graphs
from muserve_export.families import Family
from muserve_export.measuring.evaluate import evaluate_bundle
from muserve_export.training.run import RunFolder
from muserve_export.training.trained import TrainedModel

__all__ = ["export_run"]


def export_run(
    family: Family,
    run: RunFolder,
    destination: Path,
    *,
    name: str | None = None,
    version: int | None = None,
    evaluate: bool = False,
    notes: str = "",
) -> Path:
    """Writes the newest checkpoint of a run as models/<name>/<version>.

    Args:
        family: Which the run is of.
        run: A trained run.
        destination: The folder of all bundles.
        name: Name of the model; None takes the family's.
        version: Positive and new; None takes one more than the newest.
        evaluate: Whether to measure the bundle, for its manifest and card.
        notes: Limits and known faults for the card, as Markdown.

    Returns:
        The bundle's folder.

    Raises:
        ExportError: The run, the name or the version cannot be used, or a graph is not what was trained.
    """
    config = build(family.config, run.values())
    data = family.load_data(config)
    checkpoint = run.finished(config, data.sha256)
    plan = family.plan(TrainedModel(config, data, checkpoint))
    name = name or family.name
    if isinstance(plan, GraphsPlan):
        return write_loose_graphs(plan, destination, name=name, version=version)
    details = BundleDetails(
        name,
        version,
        training=run.described(config, checkpoint),
        notes=notes,
        measure=(lambda folder: evaluate_bundle(family, folder)) if evaluate else None,
    )
    return write_bundle(plan, details, destination)
