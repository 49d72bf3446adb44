"""The limits of the task kind image: they become flags, environment and file settings of a server."""

from __future__ import annotations

from dataclasses import dataclass

from muserve_server.limits import MAX_PIXELS_PER_CALL, MAX_SAMPLES_PER_CALL

__all__ = ["ImageLimits"]


@dataclass(frozen=True)
class ImageLimits:
    """Limits that are checked before memory is allocated; `muserve-server --help` explains each."""

    max_samples_per_call: int = MAX_SAMPLES_PER_CALL
    max_pixels_per_call: int = MAX_PIXELS_PER_CALL
