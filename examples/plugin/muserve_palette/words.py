"""A word as a vector: its letters in groups of two to four, hashed. Words that are spelt alike have vectors alike."""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray

__all__ = ["similarity", "word_vector"]

_GROUPS = (2, 3, 4)


def word_vector(word: str, size: int) -> NDArray[np.float32]:
    """Returns the vector of a word (feature hashing: Weinberger et al., ICML 2009).

    Args:
        word: In any case.
        size: Length of the vector.

    Returns:
        float32 [size], of length 1; all 0 for a word without letters.
    """
    text = f"^{word.strip().lower()}$"
    vector = np.zeros(size, dtype=np.float32)
    for length in _GROUPS:
        for start in range(len(text) - length + 1):
            bits = zlib.crc32(text[start : start + length].encode())
            vector[bits % size] += 1.0 if bits >> 31 else -1.0
    return vector / max(float(np.linalg.norm(vector)), 1e-6)


def similarity(word: str, other: str, size: int) -> float:
    """Returns how alike two words are spelt: 0 up to 1."""
    return max(0.0, float(word_vector(word, size) @ word_vector(other, size)))
