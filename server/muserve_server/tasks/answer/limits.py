"""The limits of the task kind answer: they become flags, environment and file settings of a server."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.configuration import option
from muserve_server.limits import MAX_SAMPLES_PER_CALL

__all__ = ["AnswerLimits"]


@dataclass(frozen=True)
class AnswerLimits:
    """Limits that are checked before memory is allocated; `muserve-server --help` explains each."""

    max_samples_per_call: int = MAX_SAMPLES_PER_CALL
    max_question_bytes: int = option(8_000, "maximum length of a question, in UTF-8", unit="bytes", minimum=1)
    max_context_bytes: int = option(
        64_000, "maximum length of the context of a request, in UTF-8", unit="bytes", minimum=1
    )
