"""The task kind translation: its service, its limits, and what opens a bundle. The rest is imported with a bundle."""

from __future__ import annotations

from muserve.bundle import Bundle
from muserve.v1 import translation_pb2
from muserve_server.tasks.kind import Task, TaskKind
from muserve_server.tasks.translation.limits import TranslationLimits

__all__ = ["KIND"]


def _open(bundle: Bundle, limits: TranslationLimits) -> Task:
    from muserve_server.tasks.translation.task import TranslationTask

    return TranslationTask(bundle, limits)


KIND = TaskKind(
    "translation", translation_pb2.DESCRIPTOR.services_by_name["ImageTranslationService"], TranslationLimits, _open
)
