"""The tasks, one package each: all pre- and post-processing. No gRPC, no onnxruntime.

What a package needs to bring a kind of its own is here, in `requests` (checks of requests), `graphs` (checks of
manifests), `noise` and `media`, and in `muserve_server.limits`.
"""

from muserve_server.rows import Rows, Step
from muserve_server.tasks.kind import Call, Handler, Task, TaskKind
from muserve_server.tasks.registry import Kinds, installed_kinds

__all__ = ["Call", "Handler", "Kinds", "Rows", "Step", "Task", "TaskKind", "installed_kinds"]
