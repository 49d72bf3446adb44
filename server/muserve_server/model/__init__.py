"""One loaded bundle: its graphs, its task, the call that a task gets, its golden requests."""

from muserve_server.model.call import CallStats
from muserve_server.model.goldens import WarmUpError
from muserve_server.model.model import LocalModel
from muserve_server.model.options import LocalOptions

__all__ = ["CallStats", "LocalModel", "LocalOptions", "WarmUpError"]
