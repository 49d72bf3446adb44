"""Graphs without a manifest, which no server takes: what a model that nothing can serve is exported as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from muserve_export.bundling.graphs import GraphSource, write_graphs
from muserve_export.errors import RunError

__all__ = ["GraphsPlan", "write_loose_graphs"]


@dataclass(frozen=True)
class GraphsPlan:
    """What a family wants written where there is no task to serve it."""

    graphs: Sequence[GraphSource]
    """The graphs."""
    card: Callable[[str, int], str]
    """card(name, version): the model card, as Markdown."""


def write_loose_graphs(plan: GraphsPlan, destination: Path, *, name: str, version: int | None) -> Path:
    """Writes graphs and a card, and no manifest.

    Args:
        plan: What to write.
        destination: The folder to write into.
        name: Name of the folder.
        version: Its number; None takes 1.

    Returns:
        The folder.

    Raises:
        RunError: It exists already.
        ParityError: A graph does not compute what the module does.
    """
    number = version or 1
    folder = destination / name / str(number)
    if folder.exists():
        raise RunError(f"{folder} exists already; choose another --name or --version")
    write_graphs(plan.graphs, folder)
    (folder / "MODEL_CARD.md").write_text(plan.card(name, number), encoding="utf-8")
    return folder
