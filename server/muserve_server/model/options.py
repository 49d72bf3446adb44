"""How bundles are opened and run."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

from muserve.bundle import Bundle
from muserve.v1 import manifest_pb2
from muserve_server.engine import BatcherOptions, OnnxOptions
from muserve_server.tasks import Kinds, TaskKind, installed_kinds

__all__ = ["LocalOptions"]

_MAX_RUNS_AT_ONCE = 4
"""Unless asked for: each holds memory for a run."""


@dataclass(frozen=True)
class LocalOptions:
    """How bundles are opened and run."""

    onnx: OnnxOptions = field(default_factory=OnnxOptions)
    """How onnxruntime runs a graph."""
    batcher: BatcherOptions = field(default_factory=BatcherOptions)
    """How rows are gathered."""
    runs_at_once: int = 0
    """Runs of one graph at a time; 0 takes one, or more where a graph takes one row or one thread a run."""
    kinds: Kinds = field(default_factory=installed_kinds)
    """The task kinds that can be served."""
    limits: Mapping[str, Any] = field(default_factory=dict)
    """The limits of kinds by name, as `Kinds.limits` makes them; defaults for kinds that are not here."""
    on_run: Callable[[Bundle, str, int, float], None] = lambda _bundle, _graph, _rows, _seconds: None
    """Called after each run with bundle, graph, rows and seconds."""

    def limits_of(self, kind: TaskKind) -> Any:
        """Returns the limits of a kind."""
        return self.limits[kind.name] if kind.name in self.limits else kind.limits()

    def runs_of(self, graph: manifest_pb2.Graph) -> int:
        """Returns how many runs of a graph go on at a time.

        More than one where rows gain nothing from each other, or a run nothing from more threads.
        """
        is_apart = 1 in (graph.max_batch_rows, graph.max_threads) and self.onnx.device == "cpu"
        return self.runs_at_once or (min(os.cpu_count() or 1, _MAX_RUNS_AT_ONCE) if is_apart else 1)

    def batcher_of(self, graph: manifest_pb2.Graph) -> BatcherOptions:
        """Returns how rows of a graph are gathered: in batches no larger than its exporter advises."""
        rows = self.batcher.max_batch_rows
        return replace(self.batcher, max_batch_rows=min(rows, graph.max_batch_rows or rows))
