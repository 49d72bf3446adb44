"""The image task: noise and labels in, PNG out."""

from muserve_server.tasks.image.task import ImageTask

__all__ = ["ImageTask"]
