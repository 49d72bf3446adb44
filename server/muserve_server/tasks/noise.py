"""Noise that depends on seed and sample index alone, so that any sample can be drawn again by itself, anywhere.

Counter-based: Philox4x64-10 (Salmon et al., "Parallel Random Numbers: As Easy as 1, 2, 3", SC 2011) keyed by
(seed, stream); sample i owns its own range of counters. Stream 0 gives normals, 1 whole numbers, those above are the
tasks'. Normals come from Box and Muller's transform ("A Note on the Generation of Random Normal Deviates", 1958),
which, unlike rejection methods, takes a fixed number of bits a sample.
"""

from __future__ import annotations

import random
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["FIRST_FREE_STREAM", "MAX_SAMPLE_INDEX", "draw_seed", "integers", "standard_normal", "uniform"]

MAX_SAMPLE_INDEX = 2**53
"""Sample indices stay below this, so that every language's numbers hold them."""

FIRST_FREE_STREAM = 2
"""Streams from here up to 2^64 - 1 are the tasks' own."""

_WORDS_PER_BLOCK = 4
_LATENT_STREAM, _LABEL_STREAM = 0, 1


def draw_seed() -> int:
    """Draws a seed below 2^53. It is no secret, so the system is not asked each time."""
    return random.getrandbits(53)


def standard_normal(
    seed: int, first_sample: int, count: int, size: int, *, stream: int = _LATENT_STREAM
) -> NDArray[np.float32]:
    """Draws standard normal vectors.

    Args:
        seed: 0 up to 2^64 - 1.
        first_sample: Index of the first sample.
        count: Number of samples.
        size: Values a sample.
        stream: Of several vectors for one sample, each comes from a stream of its own.

    Returns:
        float32 [count, size]; row i depends on seed, stream, first_sample + i and size alone.
    """
    pairs = (size + 1) // 2
    words = _words(seed, stream, first_sample, count, pairs)  # one 64-bit word a pair of normals
    # Two 32-bit uniforms a word: (0, 1] for the radius, so that its logarithm is finite, [0, 1) for the angle.
    radius = np.sqrt(-2.0 * np.log(((words >> np.uint64(32)).astype(np.float64) + 1.0) * 2.0**-32))
    angle = (words & np.uint64(0xFFFFFFFF)).astype(np.float64) * (2.0 * np.pi * 2.0**-32)
    normals = np.empty((count, pairs, 2), dtype=np.float32)
    normals[..., 0] = radius * np.cos(angle)
    normals[..., 1] = radius * np.sin(angle)
    return np.ascontiguousarray(normals.reshape(count, 2 * pairs)[:, :size])


def integers(seed: int, first_sample: int, count: int, limit: int) -> NDArray[np.int64]:
    """Draws one whole number of 0 … limit - 1 a sample: int64 [count]. Its stream is not the normals'."""
    words = _words(seed, _LABEL_STREAM, first_sample, count, 1)[:, 0]
    return (words % np.uint64(limit)).astype(np.int64)


def uniform(seed: int, first_sample: int, count: int, size: int, *, stream: int) -> NDArray[np.float64]:
    """Draws numbers of [0, 1): float64 [count, size]; row i depends on seed, stream, first_sample + i and size alone.

    Args:
        seed: 0 up to 2^64 - 1.
        first_sample: Index of the first sample.
        count: Number of samples.
        size: Values a sample.
        stream: From FIRST_FREE_STREAM on.
    """
    return (_words(seed, stream, first_sample, count, size) >> np.uint64(11)).astype(np.float64) * 2.0**-53


class _Key(np.random.bit_generator.ISeedSequence):
    """Hands Philox its key. Given as `key`, numpy would still ask the operating system for entropy on every call."""

    def __init__(self, seed: int, stream: int) -> None:
        self._key = (seed, stream)

    def generate_state(self, n_words: int, dtype: Any = np.uint64) -> NDArray[Any]:
        """Returns the two 64-bit words of the key."""
        return np.array(self._key[:n_words], dtype)


def _words(seed: int, stream: int, first_sample: int, count: int, size: int) -> NDArray[np.uint64]:
    """Returns `size` random 64-bit words a sample: uint64 [count, size]."""
    blocks = -(-size // _WORDS_PER_BLOCK)
    counter = first_sample * blocks
    generator = np.random.Philox(
        seed=_Key(seed, stream),  # type: ignore[arg-type] # numpy's stubs know only one kind of ISeedSequence
        counter=np.array([counter & (2**64 - 1), counter >> 64, 0, 0], dtype=np.uint64),
    )
    words: NDArray[np.uint64] = generator.random_raw(count * blocks * _WORDS_PER_BLOCK)
    return words.reshape(count, blocks * _WORDS_PER_BLOCK)[:, :size]
