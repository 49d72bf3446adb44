"""What the entry point "image" names."""

from __future__ import annotations

from muserve_client.calls.image import cli
from muserve_client.calls.image.probe import PROBES
from muserve_client.calls.kind import Calls

__all__ = ["CALLS"]

CALLS = Calls("image", commands=(cli.COMMAND,), probes=PROBES)
