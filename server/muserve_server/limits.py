"""Limits that several task kinds share: each is declared once, so that one flag sets it for all of them.

A kind takes one into its own limits by its object:

    @dataclass(frozen=True)
    class SketchLimits:
        max_samples_per_call: int = MAX_SAMPLES_PER_CALL

Two fields of one name are the same setting only if they are the same object and have the same type; otherwise they
clash.
"""

from __future__ import annotations

from typing import Any

from muserve.configuration import option

__all__ = ["MAX_MESSAGE_MIB", "MAX_PIXELS_PER_CALL", "MAX_SAMPLES_PER_CALL"]

MAX_MESSAGE_MIB: Any = option(32, "largest message, both ways", unit="MiB", minimum=1, maximum=1024)
"""An int. The server's own setting; a kind whose answers may grow checks it before it computes them."""
MAX_SAMPLES_PER_CALL: Any = option(
    256, "maximum samples per call", unit="samples", minimum=1, at_most="max_queue_rows"
)  # fmt: skip
"""An int. Each sample is a row in a graph's queue."""
MAX_PIXELS_PER_CALL: Any = option(2**24, "maximum pixels that one call may send or ask for", unit="pixels", minimum=1)
"""An int, over all images of a call."""
