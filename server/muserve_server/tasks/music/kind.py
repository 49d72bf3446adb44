"""The task kind music: its service, its limits, and what opens a bundle. The rest is imported with a bundle."""

from __future__ import annotations

from muserve.bundle import Bundle
from muserve.v1 import music_pb2
from muserve_server.tasks.kind import Task, TaskKind
from muserve_server.tasks.music.limits import MusicLimits

__all__ = ["KIND"]


def _open(bundle: Bundle, limits: MusicLimits) -> Task:
    from muserve_server.tasks.music.task import MusicTask

    return MusicTask(bundle, limits)


KIND = TaskKind("music", music_pb2.DESCRIPTOR.services_by_name["MusicService"], MusicLimits, _open)
