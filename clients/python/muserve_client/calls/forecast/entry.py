"""What the entry point "forecast" names."""

from __future__ import annotations

from muserve_client.calls.forecast import cli
from muserve_client.calls.forecast.probe import PROBES
from muserve_client.calls.kind import Calls

__all__ = ["CALLS"]

CALLS = Calls("forecast", commands=(cli.COMMAND,), probes=PROBES)
