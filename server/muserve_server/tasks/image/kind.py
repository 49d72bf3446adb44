"""The task kind image: its service and its limits. What does the work is imported with the first bundle."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.bundle import Bundle
from muserve.v1 import image_pb2
from muserve_server.limits import MAX_PIXELS_PER_CALL, MAX_SAMPLES_PER_CALL
from muserve_server.tasks.kind import Task, TaskKind

__all__ = ["KIND", "ImageLimits"]


@dataclass(frozen=True)
class ImageLimits:
    """What is checked before memory is taken; `muserve-server --help` explains each."""

    max_samples_per_call: int = MAX_SAMPLES_PER_CALL
    max_pixels_per_call: int = MAX_PIXELS_PER_CALL


def _open(bundle: Bundle, limits: ImageLimits) -> Task:
    from muserve_server.tasks.image.task import ImageTask

    return ImageTask(bundle, limits)


KIND = TaskKind("image", image_pb2.DESCRIPTOR.services_by_name["ImageService"], ImageLimits, _open)
