"""The seam between the batcher and whatever computes: an engine runs batches."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["Engine", "EngineError"]


class EngineError(Exception):
    """A run failed, or an engine could not be opened. The text is the backend's own."""


class Engine(Protocol):
    """Runs one graph. Called from several threads at a time where the batcher holds it several times."""

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        """Runs a batch and blocks until it is done.

        Args:
            inputs: Every input, [row, ...].

        Returns:
            Every output, [row, ...], in the order of the rows.

        Raises:
            EngineError: The run failed.
        """

    def close(self) -> None:
        """Frees what the engine holds. It is not run again."""
