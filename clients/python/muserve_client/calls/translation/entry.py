"""What the entry point "translation" names."""

from __future__ import annotations

from muserve_client.calls.kind import Calls
from muserve_client.calls.translation import cli
from muserve_client.calls.translation.probe import PROBES

__all__ = ["CALLS"]

CALLS = Calls("translation", commands=(cli.COMMAND,), probes=PROBES)
