"""The task kind image: its service, its limits, and what opens a bundle. The rest is imported with a bundle."""

from __future__ import annotations

from muserve.bundle import Bundle
from muserve.v1 import image_pb2
from muserve_server.tasks.image.limits import ImageLimits
from muserve_server.tasks.kind import Task, TaskKind

__all__ = ["KIND"]


def _open(bundle: Bundle, limits: ImageLimits) -> Task:
    from muserve_server.tasks.image.task import ImageTask

    return ImageTask(bundle, limits)


KIND = TaskKind("image", image_pb2.DESCRIPTOR.services_by_name["ImageService"], ImageLimits, _open)
