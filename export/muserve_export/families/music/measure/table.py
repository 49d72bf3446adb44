"""The figures of a music bundle: headlines, each with what it is compared with, and a table of all cells."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from muserve.v1 import manifest_pb2
from muserve_export.families.music.measure.accompaniment import Accompaniments, Fit
from muserve_export.families.music.measure.copies import CopyDetector, near_copy_rates, nearest_distances
from muserve_export.families.music.measure.distances import (
    Comparison,
    Interval,
    PieceSums,
    compare,
    measure_pieces,
    style_mean,
)
from muserve_export.families.music.measure.metrics import CONVENTIONS, Floats, Segments
from muserve_export.families.music.measure.overlap import groove_consistency, overlap_areas, scale_consistency
from muserve_export.families.music.measure.reference import (
    MusicParts,
    Reference,
    empty_bar_differences,
    tonal_distance,
)
from muserve_export.families.music.measure.served import Generated
from muserve_export.families.music.measure.tempo import tempo_response
from muserve_export.families.music.measure.tracks import tonal_gap
from muserve_export.measuring import Figures, make_metric

__all__ = ["make_figures"]

_CONTROL_SEED = 77


def make_figures(
    generated: Generated,
    accompaniments: Accompaniments | None,
    data: MusicParts,
    reference: Reference,
    *,
    hears_tempo: bool,
) -> Figures:
    """Measures what a model wrote.

    Args:
        generated: Its pieces.
        accompaniments: What its accompanist did; None without one.
        data: The data, with the tracks and styles that the model has.
        reference: The same, measured.
        hears_tempo: Whether the model is told the tempo.
    """
    music = generated.segments
    control = Segments.draw(data.training, len(music) // len(data.styles), seed=_CONTROL_SEED)
    sums, control_sums = (measure_pieces(part, reference.layout) for part in (music, control))
    comparisons, controls = (
        {name: _compare(measured[name], reference, name) for name in CONVENTIONS} for measured in (sums, control_sums)
    )
    metrics = [
        *_distance_metrics(comparisons, controls),
        *_empty_bar_metrics(sums["corrected"], reference),
        *_track_metrics(sums, reference),
        *_judge_metrics(music, reference),
        _metric("tempo_written", generated.tempo_exact, "share of files with the asked tempo; 1 is right", {}),
        *(_tempo_metrics(music, control) if hears_tempo else ()),
        *(_accompaniment_metrics(accompaniments) if accompaniments else ()),
        *_copy_metrics(music, data, reference),
        *_beside_metrics(music, reference),
    ]
    return Figures([metric for metric in metrics if not np.isnan(metric.value)], list(_cells(comparisons, data.styles)))


def _cells(comparisons: Mapping[str, Comparison], styles: Sequence[str]) -> Iterator[Mapping[str, object]]:
    """Yields the figures of every convention, style and track, with their 95 % intervals."""
    for convention, comparison in comparisons.items():
        for index, (style, cell) in enumerate(comparison.cells):
            row = {"convention": convention, "style": styles[style], "figure": cell.metric, "tracks": cell.tracks}
            for name, value, bounds in zip(
                ("model", "training", "held-out"), comparison.figures[index], comparison.bounds[index], strict=True
            ):
                for end, number in zip(("", " low", " high"), (value, *bounds), strict=True):
                    row[name + end] = f"{number:.4g}"
            for name, each in (
                ("distance", comparison.generated),
                ("training's distance", comparison.training),
                ("ratio", comparison.ratios),
            ):
                row[name] = f"{each[index]:.3g}"
            yield row


def _compare(generated: PieceSums, reference: Reference, convention: str) -> Comparison:
    return compare(generated, reference.sums["training"][convention], reference.sums["held_out"][convention])


def _distance_metrics(
    comparisons: Mapping[str, Comparison], controls: Mapping[str, Comparison]
) -> Iterator[manifest_pb2.Metric]:
    for name, found in comparisons.items():
        yield _metric(
            f"median_distance_{name}", found.median, "deviations between real pieces; lower is better",
            {"training against held-out": found.training_median.value,
             "as many training segments": controls[name].median.value},
        )  # fmt: skip
    for name, found in comparisons.items():
        yield _metric(
            f"worst_distance_ratio_{name}", found.worst_ratio, "of training against held-out; lower is better",
            {"as many training segments": controls[name].worst_ratio.value},
        )  # fmt: skip
        yield _metric(
            f"cells_over_3_{name}", found.surely_over, f"of {len(found.cells)}, interval above 3; lower is better",
            {"as many training segments": controls[name].surely_over},
        )  # fmt: skip


def _empty_bar_metrics(sums: PieceSums, reference: Reference) -> Iterator[manifest_pb2.Metric]:
    """Yields the largest difference of a track, with its sign; positive where the track is silent too often."""
    styles = np.unique(sums.style).tolist()
    held_out = reference.sums["held_out"]["corrected"]
    ours, real = (
        empty_bar_differences(part, held_out, styles) for part in (sums, reference.sums["training"]["corrected"])
    )
    worst = max(ours, key=lambda role: abs(ours[role]))
    yield _metric(
        "empty_bars_worst_track", ours[worst], "points above held-out; 0 is best",
        {"training, its worst": max(real.values(), key=abs), **ours},
    )  # fmt: skip


def _track_metrics(sums: Mapping[str, PieceSums], reference: Reference) -> Iterator[manifest_pb2.Metric]:
    if not reference.layout.pairs:
        return
    for name in CONVENTIONS:
        styles = np.unique(sums[name].style).tolist()
        parts = {part: tonal_distance(reference.sums[part][name], styles) for part in reference.sums}
        yield _metric(
            f"tonal_distance_{name}", tonal_distance(sums[name], styles), "as held-out is best",
            {"held-out": parts["held_out"], "training": parts["training"], "shuffled held-out": parts["shuffled"]},
        )  # fmt: skip
    for name in CONVENTIONS:
        gap = tonal_gap(sums[name], reference.held_out, name, layout=reference.layout)
        yield _metric(
            f"tonal_distance_gap_{name}", gap.generated, "from held-out's, mean over pairs; lower is better",
            {"shuffled held-out": gap.shuffled.value, "p": gap.p},
        )  # fmt: skip


def _judge_metrics(music: Segments, reference: Reference) -> Iterator[manifest_pb2.Metric]:
    held_out, shuffled = reference.held_out, reference.shuffled
    yield _metric(
        "joint_rate", style_mean(reference.joint_hits(music), music), "share taken for joint; higher is better",
        {"held-out": _mean(reference.joint_hits(held_out), held_out),
         "shuffled held-out": _mean(reference.joint_hits(shuffled), shuffled)},
    )  # fmt: skip
    yield _metric(
        "style_accuracy", style_mean(reference.style_hits(music), music),
        f"share recognised by {', '.join(reference.shared)}; higher is better",
        {"held-out": _mean(reference.style_hits(held_out), held_out), "by chance": 1 / len(reference.styles)},
    )  # fmt: skip


def _tempo_metrics(music: Segments, control: Segments) -> Iterator[manifest_pb2.Metric]:
    ours, real = tempo_response(music), tempo_response(control)
    yield _metric(
        "density_by_tempo", ours.slope, "onsets a bar more for 10 bpm more; as the data is best", _both(real.slope)
    )
    yield _metric(
        "density_tempo_correlation", ours.correlation, "of ranks within styles; as the data is best",
        _both(real.correlation),
    )  # fmt: skip


def _accompaniment_metrics(found: Accompaniments) -> Iterator[manifest_pb2.Metric]:
    def beside(fit: Fit) -> dict[str, float]:
        return {"random accompaniment": fit.random, "the piece's own tracks": fit.real, "p": fit.p}

    yield _metric(
        "accompaniment_tonal_distance", found.tonal_distance.accompanied,
        f"given to new tracks, {found.count} given; lower is better", beside(found.tonal_distance),
    )  # fmt: skip
    yield _metric(
        "accompaniment_joint_logit", found.joint_logit.accompanied, "the judge's; higher is better",
        beside(found.joint_logit),
    )  # fmt: skip
    yield _metric(
        "accompaniment_swap_wins", found.swap_wins, "share of pairs whose own input fits better; higher is better",
        {"by chance": 0.5, "p": found.swap_p},
    )  # fmt: skip
    yield _metric(
        "accompaniment_changed", found.changed_by_input, "share of cells that change with the given track",
        {"with the noise": found.changed_by_noise},
    )  # fmt: skip


def _copy_metrics(music: Segments, data: MusicParts, reference: Reference) -> Iterator[manifest_pb2.Metric]:
    held_out, bars = reference.held_out, music.onset.shape[1]
    detector = CopyDetector(data.training, bars, reference.layout)
    ours, real = detector.find(music), detector.find(held_out)
    theirs = style_mean(real.bars, held_out)
    yield _metric("copied_bars", style_mean(ours.bars, music), "share; lower is better", _both(theirs, "held-out"))
    if bars > 1:
        yield _metric(
            "copied_run", style_mean(ours.run, music), "bars, the longest a piece; lower is better",
            {"held-out": _mean(real.run, held_out)},
        )  # fmt: skip
        yield _metric(
            "copied_pieces", style_mean((ours.run == bars).astype(np.float64), music),
            f"share with all {bars} bars copied; lower is better",
            {"held-out": _mean((real.run == bars).astype(np.float64), held_out)},
        )  # fmt: skip
    distances = [nearest_distances(part, data.training, reference.layout) for part in (music, held_out)]
    near, limit = near_copy_rates(distances[0], distances[1], music.style, held_out.style)
    yield _metric(
        "near_copies", near, "share as near as held-out's nearest hundredth; lower is better", {"held-out": limit}
    )


def _beside_metrics(music: Segments, reference: Reference) -> Iterator[manifest_pb2.Metric]:
    held_out, training = reference.held_out, reference.training
    ours, real = (overlap_areas(part, held_out, reference.layout) for part in (music, training))
    for name in ours:
        yield _metric(f"overlap_{name}", ours[name], "area; 1 is best", {"training against held-out": real[name]})
    yield _metric(
        "groove_consistency", style_mean(groove_consistency(music), music), "as held-out is best",
        {"held-out": _mean(groove_consistency(held_out), held_out)},
    )  # fmt: skip
    scales = [scale_consistency(part, reference.layout) for part in (music, held_out)]
    yield _metric(
        "scale_consistency",
        style_mean(scales[0], music),
        "as held-out is best",
        {"held-out": _mean(scales[1], held_out)},
    )


def _mean(values: Floats, segments: Segments) -> float:
    return style_mean(values, segments, draws=1).value


def _both(found: Interval, name: str = "training") -> dict[str, float]:
    return {name: found.value, f"{name}, low": found.low, f"{name}, high": found.high}


def _metric(name: str, value: Interval | float, unit: str, beside: Mapping[str, float]) -> manifest_pb2.Metric:
    """Returns a figure with what it is compared with, the reference first, and its interval last."""
    known = {key: number for key, number in beside.items() if not np.isnan(number)}
    if isinstance(value, Interval):
        known |= {"95 % from": value.low, "95 % to": value.high}
        value = value.value
    return make_metric(name, value, unit, known)
