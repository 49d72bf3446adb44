"""The tasks, one package each: all pre- and post-processing. No gRPC, no onnxruntime."""

from collections.abc import Mapping
from types import MappingProxyType

from muserve.v1 import common_pb2
from muserve_server.tasks.answer import AnswerTask
from muserve_server.tasks.forecast import ForecastTask
from muserve_server.tasks.image import ImageTask
from muserve_server.tasks.kind import Call, Rows, Step, Task, TaskFactory, TaskLimits
from muserve_server.tasks.music import MusicTask
from muserve_server.tasks.translation import TranslationTask

__all__ = ["TASKS", "Call", "Rows", "Step", "Task", "TaskFactory", "TaskLimits"]

TASKS: Mapping[int, TaskFactory] = MappingProxyType(
    {
        common_pb2.TASK_IMAGE: ImageTask,
        common_pb2.TASK_FORECAST: ForecastTask,
        common_pb2.TASK_MUSIC: MusicTask,
        common_pb2.TASK_TRANSLATION: TranslationTask,
        common_pb2.TASK_ANSWER: AnswerTask,
    }
)
"""The tasks that this build can serve, by `muserve.v1.Task`."""
