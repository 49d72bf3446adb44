"""Noise depends on seed and sample index alone, today and in every later release."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from muserve_server.tasks import noise

seeds = st.integers(0, 2**64 - 1)
firsts = st.one_of(st.integers(0, 1000), st.integers(0, 2**53 - 64))
sizes = st.integers(1, 130)

GOLDEN_SMALL = [[0.26993755, 0.4482153, 1.5381002], [-2.2310004, 0.065275736, 0.47299418]]
GOLDEN_FAR = [[-0.79732996, 0.8170119, -2.1305788, -1.2949167, 0.60637265]]
GOLDEN_STREAM = [[-0.7528546, -0.5386928, 0.013129083, -1.1902916]]
GOLDEN_LABELS = [3, 8, 7, 5, 7, 0, 2, 5, 1, 9, 7, 6]
GOLDEN_FAR_LABELS = [90, 912, 875, 14]


@given(seeds, firsts, st.integers(1, 64), sizes, st.data())
@settings(max_examples=150)
def test_a_sample_alone_is_the_sample_of_the_set(
    seed: int, first: int, count: int, size: int, data: st.DataObject
) -> None:
    whole = noise.standard_normal(seed, first, count, size)
    assert whole.shape == (count, size)
    assert whole.dtype == np.float32
    start = data.draw(st.integers(0, count - 1))
    stop = data.draw(st.integers(start + 1, count))
    assert np.array_equal(noise.standard_normal(seed, first + start, stop - start, size), whole[start:stop])
    labels = noise.integers(seed, first, count, 10)
    assert np.array_equal(noise.integers(seed, first + start, stop - start, 10), labels[start:stop])


@given(seeds, sizes)
@settings(max_examples=50)
def test_the_last_index_works(seed: int, size: int) -> None:
    last = noise.standard_normal(seed, noise.MAX_SAMPLE_INDEX - 1, 1, size)
    assert np.isfinite(last).all()
    assert np.array_equal(noise.standard_normal(seed, noise.MAX_SAMPLE_INDEX - 2, 2, size)[1:], last)


def test_the_values_never_change() -> None:
    """If this fails, every seed that anybody has kept gives other media: do not update the numbers, mend the code."""
    np.testing.assert_allclose(noise.standard_normal(7, 0, 2, 3), GOLDEN_SMALL, rtol=1e-6)
    np.testing.assert_allclose(noise.standard_normal(2**64 - 1, 2**53 - 1, 1, 5), GOLDEN_FAR, rtol=1e-6)
    assert noise.integers(7, 0, 12, 10).tolist() == GOLDEN_LABELS
    assert noise.integers(2**64 - 1, 2**53 - 4, 4, 1000).tolist() == GOLDEN_FAR_LABELS


def test_the_normals_are_normal_and_independent() -> None:
    values = noise.standard_normal(3, 0, 2000, 100).astype(np.float64)
    assert abs(values.mean()) < 0.01
    assert abs(values.std() - 1) < 0.01
    assert abs((values**3).mean()) < 0.03
    assert abs((values**4).mean() - 3) < 0.06
    for other in (noise.standard_normal(4, 0, 2000, 100), noise.standard_normal(3, 2000, 2000, 100)):
        assert abs(np.corrcoef(values.ravel(), other.ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(values[:-1].ravel(), values[1:].ravel())[0, 1]) < 0.01
    assert abs(np.corrcoef(values[:, ::2].ravel(), values[:, 1::2].ravel())[0, 1]) < 0.01


def test_the_labels_are_even() -> None:
    counts = np.bincount(noise.integers(5, 0, 20_000, 10), minlength=10)
    assert counts.min() > 1850
    assert counts.max() < 2150


def test_drawn_seeds_are_exact_in_every_language() -> None:
    drawn = {noise.draw_seed() for _ in range(100)}
    assert len(drawn) == 100
    assert max(drawn) < 2**53


@given(seeds, firsts, sizes, st.integers(noise.FIRST_FREE_STREAM, 2**64 - 1))
@settings(max_examples=50)
def test_streams_are_apart(seed: int, first: int, size: int, stream: int) -> None:
    plain = noise.standard_normal(seed, first, 2, size)
    assert np.array_equal(noise.standard_normal(seed, first, 2, size, stream=0), plain)
    other = noise.standard_normal(seed, first, 2, size, stream=stream)
    assert not np.array_equal(other, plain)
    assert np.array_equal(noise.standard_normal(seed, first + 1, 1, size, stream=stream), other[1:])
    assert not np.array_equal(noise.standard_normal(seed, first, 2, size, stream=stream - 1), other)


def test_the_noise_of_other_streams_stays_what_it_was() -> None:
    found = noise.standard_normal(7, 3, 1, 4, stream=5)
    np.testing.assert_allclose(found, GOLDEN_STREAM, rtol=1e-6)
