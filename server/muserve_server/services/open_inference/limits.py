"""What a call may send and ask for, whichever graph it calls."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["TensorLimits"]


@dataclass(frozen=True)
class TensorLimits:
    """Limits that are checked before memory is allocated; each is a setting of the server."""

    max_rows: int
    """Rows of a call: max_samples_per_call."""
    max_free_size: int
    """Size of a dimension that a graph leaves free: max_free_size."""
    max_response_bytes: int
    """Size of an answer: max_message_mib."""
