"""The model card of a bundle, written from its manifest (Mitchell et al., "Model Cards for Model Reporting", 2019)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muserve.v1 import manifest_pb2

__all__ = ["metrics_table", "model_card"]


def model_card(manifest: manifest_pb2.ModelManifest, samples: Sequence[str], notes: str) -> str:
    """Writes the card as Markdown.

    Args:
        manifest: Complete but for the list of files.
        samples: Names of the files under samples/.
        notes: Limits and known faults, as Markdown.
    """
    sections = [
        f"# {manifest.name} {manifest.version}",
        manifest.description,
        "\n".join(f"![{sample}](samples/{sample})" for sample in samples if sample.endswith(".png")),
        "\n".join(f"- [{sample}](samples/{sample})" for sample in samples if sample.endswith(".md")),
        "## Training data",
        "\n".join(
            f"- **{data.name}** ({data.licence}): {data.origin}. {data.split}." for data in manifest.training_data
        ),
        "## Figures",
        metrics_table({manifest.name: manifest.metrics})
        if manifest.metrics
        else "None: this bundle was exported without `--evaluate`.",
        "## Limits and known faults",
        notes or "None written down.",
        "## Training",
        f"Family `{manifest.training['family']}`, recipe `{manifest.training['recipe']}`. Weights: {manifest.licence}. "
        + ", ".join(f"{package} {version}" for package, version in sorted(manifest.frameworks.items()))
        + ".",
        _table(
            ("setting", "value"),
            [(f"`{key}`", f"`{value}`") for key, value in sorted(manifest.training.items()) if value],
        ),
        "## Graphs",
        _graphs_table(manifest.graphs),
    ]
    return "\n\n".join(section for section in sections if section) + "\n"


def metrics_table(metrics: Mapping[str, Sequence[manifest_pb2.Metric]]) -> str:
    """Writes figures as a Markdown table: a row a figure, a column a model, the reference last.

    Args:
        metrics: Model to figures, each with the same names and references.
    """
    rows = []
    for name in dict.fromkeys(metric.name for figures in metrics.values() for metric in figures):
        found = {model: next((m for m in figures if m.name == name), None) for model, figures in metrics.items()}
        first = next(metric for metric in found.values() if metric is not None)
        beside = [(first.reference, first.reference_name)] if first.reference_name else []
        beside += [(other.value, other.name) for other in first.others]
        reference = ", ".join(f"{value:.4g} ({name})" for value, name in beside)
        values = [f"{metric.value:.4g}" if metric is not None else "–" for metric in found.values()]
        rows.append((name.replace("_", " "), *values, reference, first.unit))
    return _table(("figure", *metrics, "beside", "unit"), rows)


def _graphs_table(graphs: Sequence[manifest_pb2.Graph]) -> str:
    return _table(
        ("graph", "ONNX − torch", "TorchScript − torch", "allowed", "same bits in every batch size"),
        [
            (
                f"`{graph.role}`",
                f"{graph.parity.onnx_max_abs_diff:.2g}",
                f"{graph.parity.torchscript_max_abs_diff:.2g}",
                f"{graph.parity.tolerance:.2g}",
                ("yes" if graph.batch_invariance.exact else f"no, up to {graph.batch_invariance.max_abs_diff:.2g}")
                + f" ({graph.batch_invariance.measured_on})",
            )
            for graph in graphs
        ],
    )


def _table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)
