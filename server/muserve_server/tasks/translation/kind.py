"""The task kind translation: its service and its limits. What does the work is imported with the first bundle."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.bundle import Bundle
from muserve.configuration import option
from muserve.v1 import translation_pb2
from muserve_server.limits import MAX_PIXELS_PER_CALL, MAX_SAMPLES_PER_CALL
from muserve_server.tasks.kind import Task, TaskKind

__all__ = ["KIND", "TranslationLimits"]


@dataclass(frozen=True)
class TranslationLimits:
    """What is checked before memory is taken; `muserve-server --help` explains each."""

    max_samples_per_call: int = MAX_SAMPLES_PER_CALL
    max_pixels_per_call: int = MAX_PIXELS_PER_CALL
    max_pixels_in_work: int = option(
        2**25,
        "maximum pixels of images and answers that translations by one model hold in memory at once; other calls wait",
        unit="pixels",
        minimum=1,
    )


def _open(bundle: Bundle, limits: TranslationLimits) -> Task:
    from muserve_server.tasks.translation.task import TranslationTask

    return TranslationTask(bundle, limits)


KIND = TaskKind(
    "translation", translation_pb2.DESCRIPTOR.services_by_name["ImageTranslationService"], TranslationLimits, _open
)
