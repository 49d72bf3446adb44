"""The limits of the task kind translation: they become flags, environment and file settings of a server."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.configuration import option
from muserve_server.limits import MAX_PIXELS_PER_CALL, MAX_SAMPLES_PER_CALL

__all__ = ["TranslationLimits"]


@dataclass(frozen=True)
class TranslationLimits:
    """Limits that are checked before memory is allocated; `muserve-server --help` explains each."""

    max_samples_per_call: int = MAX_SAMPLES_PER_CALL
    max_pixels_per_call: int = MAX_PIXELS_PER_CALL
    max_pixels_in_work: int = option(
        2**25,
        "maximum pixels of images and answers that translations by one model hold in memory at once; other calls wait",
        unit="pixels",
        minimum=1,
    )
