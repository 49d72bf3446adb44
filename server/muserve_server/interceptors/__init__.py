"""What every call of the API goes through: telemetry, errors, limits, deadlines, in this order."""

from muserve_server.interceptors.call import CallContext, Handler, Layer, within
from muserve_server.interceptors.deadlines import deadline_layer
from muserve_server.interceptors.errors import error_layer
from muserve_server.interceptors.limits import limit_layer
from muserve_server.interceptors.telemetry import telemetry_layer

__all__ = [
    "CallContext",
    "Handler",
    "Layer",
    "deadline_layer",
    "error_layer",
    "limit_layer",
    "telemetry_layer",
    "within",
]
