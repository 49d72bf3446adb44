"""Rows of tensors: what tasks make of requests, what batches are formed of, what graphs take and give."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["Rows", "Step", "concatenate", "count_rows", "slice_rows"]

Rows = Mapping[str, NDArray[Any]]
"""Tensors by name. The first dimension of each is the row, the same number in all."""
Step = Callable[[Rows], Rows | None]
"""Makes the next rows of a graph's outputs, or returns None at the end."""


def count_rows(rows: Rows) -> int:
    """Returns the number of rows.

    Raises:
        ValueError: The tensors disagree in it, or have none.
    """
    counts = {tensor.shape[:1] for tensor in rows.values()}
    if len(counts) != 1 or counts <= {(), (0,)}:
        shapes = {name: tensor.shape for name, tensor in rows.items()}
        raise ValueError(f"the tensors have the shapes {shapes}; each must have the same number of rows, at least one")
    return int(counts.pop()[0])


def slice_rows(rows: Rows, start: int, stop: int, *, count: int) -> Rows:
    """Returns rows start … stop - 1 of `count` rows; the same object where that is all of them."""
    if stop - start == count:
        return rows
    return {name: tensor[start:stop] for name, tensor in rows.items()}


def concatenate(parts: Sequence[Rows]) -> dict[str, NDArray[Any]]:
    """Puts rows after one another. The parts have the same tensors, but for the number of rows."""
    if len(parts) == 1:
        return dict(parts[0])
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
