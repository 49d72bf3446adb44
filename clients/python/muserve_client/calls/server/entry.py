"""What the entry point "server" names."""

from __future__ import annotations

from muserve_client.calls.kind import Calls
from muserve_client.calls.server import cli_models, cli_verify

__all__ = ["CALLS"]

CALLS = Calls("server", commands=(cli_models.COMMAND, cli_verify.COMMAND))
