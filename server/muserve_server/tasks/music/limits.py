"""The limits of the task kind music: they become flags, environment and file settings of a server."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.configuration import option
from muserve_server.limits import MAX_MESSAGE_MIB, MAX_PIXELS_PER_CALL, MAX_SAMPLES_PER_CALL

__all__ = ["MusicLimits"]


@dataclass(frozen=True)
class MusicLimits:
    """Limits that are checked before memory is allocated; `muserve-server --help` explains each."""

    max_samples_per_call: int = MAX_SAMPLES_PER_CALL
    max_pixels_per_call: int = MAX_PIXELS_PER_CALL
    max_midi_events: int = option(100_000, "maximum events of one MIDI file", unit="events", minimum=1)
    max_bars_per_call: int = option(8192, "maximum bars per call, over all pieces", unit="bars", minimum=1)
    max_message_mib: int = MAX_MESSAGE_MIB

    @property
    def max_answer_bytes(self) -> int:
        """Maximum size of one answer: that of a message."""
        return self.max_message_mib * 2**20
