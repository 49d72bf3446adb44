"""What can go wrong in training and export, for people.

ExportError
├── DataError         the training data is missing, unreadable or too little
├── RunError          a run folder or checkpoint cannot be used as asked
├── DivergedError     a loss is no number any more
└── ParityError       the exported graph does not compute what the trained module does
"""

from __future__ import annotations

__all__ = ["DataError", "DivergedError", "ExportError", "ParityError", "RunError"]


class ExportError(Exception):
    """Base of all errors of `muserve-export`. The text says what came, what is allowed and how to fix it."""


class DataError(ExportError):
    """The training data is missing, unreadable or too little."""


class RunError(ExportError):
    """A run folder or a checkpoint cannot be used as asked."""


class DivergedError(ExportError):
    """A loss is no finite number any more."""


class ParityError(ExportError):
    """An exported graph does not compute what the trained module computes."""
