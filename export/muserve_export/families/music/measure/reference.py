"""What generated music is measured against: real music of each part, the same with shuffled tracks, and the judges.

`quick_figures` measures arrays as they leave a generator, for the search; what is reported comes through the served
path, see `evaluate`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from muserve_export.errors import DataError
from muserve_export.families.music.measure.distances import (
    Comparison,
    PieceSums,
    by_style,
    compare,
    measure_pieces,
    mix_tracks,
    shuffle_tracks,
)
from muserve_export.families.music.measure.judges import (
    VERSION,
    Judge,
    judge_features,
    load_joint_judge,
    load_style_judge,
    merge_chords,
    shared_tracks,
)
from muserve_export.families.music.measure.metrics import (
    CONVENTIONS,
    STANDARD,
    Floats,
    Integers,
    Layout,
    MusicPart,
    Segments,
)

__all__ = [
    "MusicParts",
    "Reference",
    "empty_bar_differences",
    "load_reference",
    "quick_figures",
    "tonal_distance",
]

TRAINING_PER_STYLE, HELD_OUT_PER_STYLE = 400, 200
QUICK_DRAWS = 100


class MusicParts(Protocol):
    """The data, as far as it is measured; see `data.MusicData`."""

    @property
    def training(self) -> MusicPart:
        """What the networks have learnt from."""

    @property
    def validation(self) -> MusicPart:
        """What choices are made by."""

    @property
    def test(self) -> MusicPart:
        """What is reported."""

    @property
    def styles(self) -> tuple[str, ...]:
        """Names of the styles."""

    @property
    def sha256(self) -> str:
        """Digest of data and split."""


@dataclass(frozen=True)
class Reference:
    """Real music, measured."""

    styles: tuple[str, ...]
    layout: Layout
    training: Segments
    """Up to 400 segments a style, drawn by chance."""
    held_out: Segments
    """Up to 200 segments a style of the part that is measured against."""
    shuffled: Segments
    """The held-out ones, each of whose tracks comes from another piece of the style."""
    sums: Mapping[str, Mapping[str, PieceSums]]
    """"training", "held_out" and "shuffled" to convention to what was measured."""
    joint_judge: Judge | None
    """None where there is one track."""
    style_judge: Judge | None
    """None where there is one style."""
    shared: tuple[str, ...]
    """The tracks that the style judge hears, see `judges.shared_tracks`."""

    def joint_logits(self, segments: Segments) -> Floats:
        """Returns how much more likely the tracks of segments belong together than not, [segment]."""
        if self.joint_judge is None:
            return np.full(len(segments), np.nan)
        logits = self.joint_judge.listen(judge_features(segments, self.layout)).astype(np.float64)
        return logits[:, 1] - logits[:, 0]

    def joint_hits(self, segments: Segments) -> Floats:
        """Returns 1 where the judge takes the tracks for joint, else 0, [segment]; NaN without a judge."""
        logits = self.joint_logits(segments)
        return np.where(np.isnan(logits), np.nan, logits > 0)

    def style_hits(self, segments: Segments) -> Floats:
        """Returns 1 where the judge takes segments for the style that they have, else 0, [segment]; NaN without."""
        if self.style_judge is None:
            return np.full(len(segments), np.nan)
        chosen, layout = merge_chords(segments, self.shared, self.layout)
        heard = self.style_judge.listen(judge_features(chosen, layout)).argmax(axis=1)
        return np.asarray(heard == segments.style, np.float64)


def load_reference(
    data: MusicParts,
    part: str = "validation",
    *,
    layout: Layout = STANDARD,
    folder: Path | None = None,
    seed: int = 0,
) -> Reference:
    """Measures real music and gets the judges.

    Args:
        data: The data.
        part: "validation" or "test": what is measured against.
        layout: What the axes mean.
        folder: Where the judges are kept between calls, by digest of the data; None to keep none.
        seed: Of draws, shuffles and judges.

    Raises:
        DataError: The part has no music.
    """
    training = Segments.draw(data.training, TRAINING_PER_STYLE, seed=seed)
    validation = Segments.draw(data.validation, HELD_OUT_PER_STYLE, seed=seed)
    held_out = validation if part == "validation" else Segments.draw(data.test, HELD_OUT_PER_STYLE, seed=seed)
    if not len(held_out):
        raise DataError(f"the {part} part holds no music; give at least three pieces a style")
    checked = validation if len(validation) else training
    tracks = len(layout.roles)
    shuffled = mix_tracks(held_out, shuffle_tracks(held_out.style, held_out.piece, tracks, seed=seed))
    shared = shared_tracks(training, layout)
    name = f"{data.sha256[:16]}-{'-'.join(layout.roles)}-{seed}-v{VERSION}.pt"
    joint_judge = style_judge = None
    if tracks > 1:
        file = folder / f"joint-{name}" if folder else None
        joint_judge = load_joint_judge(training, checked, layout, file=file, seed=seed)
    if len(data.styles) > 1:
        file = folder / f"style-{name}" if folder else None
        heard, heard_layout = merge_chords(training, shared, layout)
        heard_checked, _ = merge_chords(checked, shared, layout)
        style_judge = load_style_judge(heard, heard_checked, len(data.styles), heard_layout, file=file, seed=seed)
    parts = {"training": training, "held_out": held_out, "shuffled": shuffled}
    return Reference(
        styles=data.styles,
        layout=layout,
        training=training,
        held_out=held_out,
        shuffled=shuffled,
        sums={name: measure_pieces(part, layout) for name, part in parts.items()},
        joint_judge=joint_judge,
        style_judge=style_judge,
        shared=shared,
    )


def quick_figures(
    onset: NDArray[np.bool_], hold: NDArray[np.bool_], style: Integers, reference: Reference
) -> dict[str, float]:
    """Measures generated arrays, without MIDI, for choosing between checkpoints.

    Args:
        onset: [segment, bar, track, step, pitch], best as many of each style.
        hold: The same shape; may be given as the network gives it, since holds without a note count for nothing.
        style: Index of the style that was asked for, [segment].
        reference: What to measure against; make it once with `load_reference`.

    Returns:
        Names to figures, NaN where nothing can be said. Those of real music end in _real: training against held-out, or
        held-out itself. EB differences are in points, generated minus held-out: positive where a track is silent too
        often.
    """
    layout = reference.layout
    segments = Segments(onset, hold, style, np.arange(len(style)))
    ours = measure_pieces(segments, layout)
    found: dict[str, float] = {}
    for name in CONVENTIONS:
        found |= _compared(name, _compare(ours[name], reference, name))
    generated, real = (part["corrected"] for part in (ours, reference.sums["held_out"]))
    styles = np.intersect1d(style, reference.held_out.style).tolist()
    found |= {f"eb_{role}": points for role, points in empty_bar_differences(generated, real, styles).items()}
    found |= {
        f"td{ending}": tonal_distance(part, styles)
        for ending, part in (("", generated), ("_real", real), ("_shuffled", reference.sums["shuffled"]["corrected"]))
    }
    for ending, part in (("", segments), ("_real", reference.held_out), ("_shuffled", reference.shuffled)):
        found[f"joint_rate{ending}"] = by_style(reference.joint_hits(part), part.style)
        if ending != "_shuffled":
            found[f"style_accuracy{ending}"] = by_style(reference.style_hits(part), part.style)
    return {name: float(value) for name, value in found.items()}


def empty_bar_differences(generated: PieceSums, held_out: PieceSums, styles: list[int]) -> dict[str, float]:
    """Returns for each track by how many points its EB is above that of held-out music, mean over styles."""
    chosen = [index for index, cell in enumerate(held_out.cells) if cell.metric == "EB"]
    differences = (generated.means(styles) - held_out.means(styles))[:, chosen].mean(axis=0)
    return {held_out.cells[index].tracks: float(value) for index, value in zip(chosen, differences, strict=True)}


def tonal_distance(sums: PieceSums, styles: list[int]) -> float:
    """Returns TD, the mean over pairs of tracks and styles in which both sound."""
    chosen = [index for index, cell in enumerate(sums.cells) if cell.metric == "TD"]
    values = sums.means(styles)[:, chosen]
    return float(np.nanmean(values)) if not np.isnan(values).all() else np.nan


def _compare(generated: PieceSums, reference: Reference, convention: str) -> Comparison:
    sums = reference.sums
    return compare(generated, sums["training"][convention], sums["held_out"][convention], draws=QUICK_DRAWS)


def _compared(name: str, comparison: Comparison) -> dict[str, float]:
    return {
        f"median_distance_{name}": comparison.median.value,
        f"median_distance_{name}_real": comparison.training_median.value,
        f"worst_ratio_{name}": comparison.worst_ratio.value,
        f"cells_over_3_{name}": float((comparison.ratios > 3).sum()),
    }
