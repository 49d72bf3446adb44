"""Compares what training leaves."""

from __future__ import annotations

from typing import Any

from torch import Tensor, equal

__all__ = ["assert_same"]


def assert_same(first: Any, second: Any) -> None:
    """Fails unless two checkpoints, or parts of them, are the same, tensors to the bit."""
    assert type(first) is type(second)
    if isinstance(first, Tensor):
        assert equal(first, second)
    elif isinstance(first, dict):
        assert first.keys() == second.keys()
        for key in first:
            assert_same(first[key], second[key])
    elif isinstance(first, list | tuple):
        for one, other in zip(first, second, strict=True):
            assert_same(one, other)
    else:
        assert first == second
