"""One loaded bundle: its graphs, its task, the call that a task gets, its golden requests."""

from muserve_server.model.model import CallStats, LocalModel, LocalOptions, WarmUpError

__all__ = ["CallStats", "LocalModel", "LocalOptions", "WarmUpError"]
