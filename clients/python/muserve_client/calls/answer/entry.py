"""What the entry point "answer" names."""

from __future__ import annotations

from muserve_client.calls.answer import cli_ask, cli_questions
from muserve_client.calls.answer.probe import PROBES
from muserve_client.calls.kind import Calls

__all__ = ["CALLS"]

CALLS = Calls("answer", commands=(cli_ask.COMMAND, cli_questions.COMMAND), probes=PROBES)
