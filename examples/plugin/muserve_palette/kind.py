"""The task kind: its service, its limits, and what opens a bundle."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.bundle import Bundle
from muserve.configuration import option
from muserve_palette.v1 import palette_pb2
from muserve_server.limits import MAX_SAMPLES_PER_CALL
from muserve_server.tasks import Task, TaskKind

__all__ = ["KIND", "PaletteLimits"]


@dataclass(frozen=True)
class PaletteLimits:
    """They become flags of `muserve-server`; the first is shared with other tasks."""

    max_samples_per_call: int = MAX_SAMPLES_PER_CALL
    max_mood_letters: int = option(40, "maximum length of a mood word", unit="letters", minimum=1)


def _open(bundle: Bundle, limits: PaletteLimits) -> Task:
    from muserve_palette.task import PaletteTask

    return PaletteTask(bundle, limits)


KIND = TaskKind("palette", palette_pb2.DESCRIPTOR.services_by_name["PaletteService"], PaletteLimits, _open)
