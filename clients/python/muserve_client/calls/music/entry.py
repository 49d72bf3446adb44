"""What the entry point "music" names."""

from __future__ import annotations

from muserve_client.calls.kind import Calls
from muserve_client.calls.music import cli_accompany, cli_music
from muserve_client.calls.music.probe import PROBES

__all__ = ["CALLS"]

CALLS = Calls("music", commands=(cli_music.COMMAND, cli_accompany.COMMAND), probes=PROBES)
