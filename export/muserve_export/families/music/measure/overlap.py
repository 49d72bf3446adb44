"""Figures that are printed beside: overlap of feature distributions, groove consistency, scale consistency.

Yang and Lerch, "On the evaluation of generative models in music" (2020): nine features of a track; the distances
within the held-out set and those between the generated and the held-out set are two distributions, whose common area
(of kernel density estimates) is 1 when the sets cannot be told apart. Here a sample is a segment's track; an area is
the mean over the pitched tracks. Lengths are the plain and dotted ones that the grid has.

Groove consistency and scale consistency are MusPy's: one minus the mean Hamming distance of neighbouring bars' onsets;
the largest share of notes in one scale. (A natural minor scale has the notes of a major one, so that 12 are tried.)
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from muserve_export.families.music.measure.metrics import STANDARD, Floats, Integers, Layout, Segments, sounding

__all__ = [
    "FEATURES",
    "features",
    "find_notes",
    "groove_consistency",
    "overlap_area",
    "overlap_areas",
    "scale_consistency",
]

FEATURES = (
    "pitch_count",
    "pitch_class_histogram",
    "pitch_class_transitions",
    "pitch_range",
    "pitch_interval",
    "note_count",
    "inter_onset_interval",
    "note_length_histogram",
    "note_length_transitions",
)
_OCTAVE = 12
_MAJOR = (0, 2, 4, 5, 7, 9, 11)
_LENGTHS = np.array([1, 2, 3, 4, 6, 8, 12, 16])
_BINS = 1024
_MAX_SAMPLES = 400


def features(segments: Segments, track: int, layout: Layout = STANDARD) -> Mapping[str, Floats]:
    """Measures one pitched track of segments.

    Returns:
        Feature to values [sample, size], of the segments in which the track has at least two notes.
    """
    owner, time, pitch, length = find_notes(segments, track)
    many = np.bincount(owner, minlength=len(segments)) >= 2
    chosen = many[owner]
    owner, time, pitch, length = owner[chosen], time[chosen], pitch[chosen], length[chosen]
    owner = (np.cumsum(many) - 1)[owner]
    samples = int(many.sum())
    pitch_class = (pitch + layout.lowest_pitch) % _OCTAVE
    length_class = np.abs(np.log(length[:, None] / _LENGTHS)).argmin(axis=1)
    used = _histogram(owner, pitch, None, samples, segments.onset.shape[-1])
    count = np.bincount(owner, minlength=samples).astype(np.float64)
    same = owner[1:] == owner[:-1]
    rows = np.arange(used.shape[1])
    lowest = np.where(used > 0, rows, used.shape[1]).min(axis=1, initial=used.shape[1])
    highest = np.where(used > 0, rows, -1).max(axis=1, initial=-1)
    intervals = np.bincount(owner[1:][same], np.abs(np.diff(pitch))[same], minlength=samples)
    gaps = np.bincount(owner[1:][same], np.diff(time)[same], minlength=samples)
    scalars = {
        "pitch_count": (used > 0).sum(axis=1),
        "pitch_range": highest - lowest,
        "pitch_interval": intervals / np.maximum(count - 1, 1),
        "note_count": count,
        "inter_onset_interval": gaps / np.maximum(count - 1, 1),
    }
    histograms = {
        "pitch_class_histogram": _histogram(owner, pitch_class, length, samples, _OCTAVE),
        "pitch_class_transitions": _transitions(owner, pitch_class, same, samples, _OCTAVE),
        "note_length_histogram": _histogram(owner, length_class, None, samples, len(_LENGTHS)),
        "note_length_transitions": _transitions(owner, length_class, same, samples, len(_LENGTHS)),
    }
    found = {name: np.asarray(values, np.float64)[:, None] for name, values in scalars.items()}
    found |= {name: values / values.sum(axis=1, keepdims=True) for name, values in histograms.items()}
    return {name: found[name] for name in FEATURES}


def overlap_areas(
    generated: Segments, held_out: Segments, layout: Layout = STANDARD, *, seed: int = 0
) -> Mapping[str, float]:
    """Returns for each feature the overlap with held-out music, mean over the pitched tracks that both have."""
    random = np.random.default_rng(seed)
    areas: dict[str, list[float]] = {name: [] for name in FEATURES}
    for track in layout.pitched:
        ours, theirs = features(generated, track, layout), features(held_out, track, layout)
        sizes = len(ours["note_count"]), len(theirs["note_count"])
        if min(sizes) < 2:
            continue
        chosen = [random.permutation(size)[:_MAX_SAMPLES] for size in sizes]
        for name in FEATURES:
            areas[name].append(overlap_area(ours[name][chosen[0]], theirs[name][chosen[1]]))
    return {name: float(np.mean(values)) if values else np.nan for name, values in areas.items()}


def overlap_area(generated: Floats, held_out: Floats) -> float:
    """Returns the common area of the distances within the held-out samples and those to the generated ones.

    Args:
        generated: [sample, size].
        held_out: [sample, size], at least two.
    """
    within = _distances(held_out, held_out)[np.triu_indices(len(held_out), k=1)]
    between = _distances(generated, held_out).ravel()
    widths = [
        max(float(values.std()) * len(values) ** -0.2, 1e-3 * (1e-9 + within.mean())) for values in (within, between)
    ]
    low, high = min(within.min(), between.min()), max(within.max(), between.max())
    margin = 4 * max(widths)
    edges = np.linspace(low - margin, high + margin, _BINS + 1)
    one, other = (
        _smooth(np.histogram(values, edges)[0] / len(values), width / (edges[1] - edges[0]))
        for values, width in zip((within, between), widths, strict=True)
    )
    return float(np.minimum(one, other).sum())


def groove_consistency(segments: Segments) -> Floats:
    """Returns MusPy's groove consistency of all tracks together, [segment]; NaN for segments of one bar."""
    begins = np.asarray(segments.onset.any(axis=(2, 4)))  # [segment, bar, step]
    if begins.shape[1] < 2:
        return np.full(len(segments), np.nan)
    return 1.0 - np.asarray((begins[:, 1:] != begins[:, :-1]).mean(axis=(1, 2)), np.float64)


def scale_consistency(segments: Segments, layout: Layout = STANDARD) -> Floats:
    """Returns MusPy's scale consistency of the pitched tracks, [segment]; NaN for segments without such notes."""
    rows = segments.onset[:, :, list(layout.pitched)].sum(axis=(1, 2, 3))  # [segment, pitch]
    classes = np.eye(_OCTAVE)[(np.arange(rows.shape[1]) + layout.lowest_pitch) % _OCTAVE]
    notes: Floats = rows @ classes
    scales = np.array([[(number - key) % _OCTAVE in _MAJOR for number in range(_OCTAVE)] for key in range(_OCTAVE)])
    total = notes.sum(axis=1)
    best = (notes @ scales.T).max(axis=1)
    found: Floats = np.divide(best, total, out=np.full(len(notes), np.nan), where=total > 0)
    return found


def find_notes(segments: Segments, track: int) -> tuple[Integers, Integers, Integers, Integers]:
    """Returns segment, time, pitch row and length in steps of a track's notes, in order of segment, time and pitch."""
    shape = (len(segments), -1, segments.onset.shape[-1])
    one = np.s_[:, :, track : track + 1]
    sounds = sounding(segments.onset[one], segments.hold[one]).reshape(shape)
    onset = segments.onset[one].reshape(shape)
    goes_on = sounds & ~onset
    length = np.ones(onset.shape, np.int16)
    for step in range(onset.shape[1] - 2, -1, -1):
        length[:, step] += np.where(goes_on[:, step + 1], length[:, step + 1], 0).astype(np.int16)
    owner, time, pitch = np.nonzero(onset)
    return owner, time, pitch, length[owner, time, pitch].astype(np.int64)


def _histogram(owner: Integers, kind: Integers, weight: Integers | None, samples: int, kinds: int) -> Floats:
    counts = np.bincount(owner * kinds + kind, weight, minlength=samples * kinds)
    return counts.reshape(samples, kinds).astype(np.float64)


def _transitions(owner: Integers, kind: Integers, same: NDArray[np.bool_], samples: int, kinds: int) -> Floats:
    pairs = kind[:-1] * kinds + kind[1:]
    return _histogram(owner[1:][same], pairs[same], None, samples, kinds * kinds)


def _distances(one: Floats, other: Floats) -> Floats:
    squares: Floats = (one**2).sum(axis=1)[:, None] + (other**2).sum(axis=1) - 2 * one @ other.T
    return np.sqrt(np.maximum(squares, 0))


def _smooth(share: Floats, width: float) -> Floats:
    """Convolves with a normal distribution; the width is in bins."""
    reach = int(np.ceil(4 * width)) + 1
    kernel = np.exp(-0.5 * (np.arange(-reach, reach + 1) / max(width, 1e-6)) ** 2)
    return np.convolve(share, kernel / kernel.sum(), mode="full")[reach : reach + len(share)]
