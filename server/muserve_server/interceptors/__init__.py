"""What every call of the typed API goes through: telemetry, errors, limits, deadlines, in this order."""

from muserve_server.interceptors.call import CallContext, Layer
from muserve_server.interceptors.deadlines import deadline_layer
from muserve_server.interceptors.errors import error_layer
from muserve_server.interceptors.limits import limit_layer
from muserve_server.interceptors.pipeline import PipelineInterceptor
from muserve_server.interceptors.telemetry import telemetry_layer

__all__ = [
    "CallContext",
    "Layer",
    "PipelineInterceptor",
    "deadline_layer",
    "error_layer",
    "limit_layer",
    "telemetry_layer",
]
