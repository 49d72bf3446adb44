"""Measures a translation bundle on held-out pairs, through the code that serves it, beside what needs no learning.

Figures, for each direction, over places that no training image shows, as means over the places:
- ssim: structural similarity to the true picture; l1: mean absolute difference from it, 0 to 255.
- sharpness: mean difference of neighbouring pixels, as a share of the true pictures' own; 1 is theirs.
- On the side of the map, where the data have classes of its pixels (`classes.json`): pixel accuracy, class accuracy and
  mean intersection over union, over the pixels of all places.
- cycle: mean absolute difference of what comes back from there and back.

Beside them stand the image itself and the image with the other domain's mean and spread of colour; a paired regressor
stands in a column of its own: name its bundle too. Intervals are 95 %, by bootstrap over the places.

Of sewing, on pictures of 1024 × 1024: the signal-to-noise ratio of the tiled picture against the same network run over
the whole at once; and the step across seams as a share of that between other neighbours, beside the whole picture's.
"""

from __future__ import annotations

import asyncio
import csv
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error

from muserve.bundle import read_bundle
from muserve.configuration import build
from muserve.v1 import manifest_pb2
from muserve_export.bundling.graphs import load_torchscript
from muserve_export.errors import DataError
from muserve_export.families.translation import metrics
from muserve_export.families.translation.classes import MapClasses
from muserve_export.families.translation.config import TranslationConfig
from muserve_export.families.translation.data import TranslationData, load_data, read_image
from muserve_export.families.translation.metrics import ColourTransfer, bootstrap
from muserve_export.families.translation.served import translate
from muserve_export.families.translation.sources import LARGE
from muserve_server.model import LocalModel
from muserve_server.tasks.media.png import to_pixels

__all__ = ["Place", "evaluate_translation"]

_FEWEST_PLACES = 2
_SMALLEST_SIDE = 11
_LARGE_PICTURES = 4
_LEAST_ERROR = 255**2 / 1e10
"""Squared; what is nearer counts as 100 dB."""
_COPY, _TRANSFER = "the image itself", "colour transfer"

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Place:
    """One held-out pair in one direction, and what became of it by each method."""

    name: str
    truth: Pixels
    """[row, column, 3]."""
    made: Mapping[str, Pixels]
    """Method to picture; the bundle's own is ""."""
    cycle_error: float
    """Mean absolute difference of image and what came back."""


def evaluate_translation(
    folder: Path, *, data: str | None = None, part: str = "test", details: Path | None = None
) -> list[manifest_pb2.Metric]:
    """Measures a bundle on held-out pairs.

    Args:
        folder: The bundle.
        data: Data to measure against, as `TranslationConfig.data`; None takes what the bundle was trained on.
        part: "validation" while choosing, "test" to report.
        details: Where to write the figures of each place, as CSV.

    Raises:
        DataError: There are no pairs to measure by.
        BundleError: The bundle cannot be opened.
    """
    images = _load(folder, data)
    names = images.pairs(part)
    if len(names) < _FEWEST_PLACES:
        raise DataError(
            f"{images.folder} has {len(names)} pairs in {part}A and {part}B; at least {_FEWEST_PLACES} are needed to "
            "measure: give images of one place the same name in both, or leave out --evaluate"
        )
    return asyncio.run(_measure(folder, images, part, details))


def _load(folder: Path, data: str | None) -> TranslationData:
    training = read_bundle(folder).manifest.training
    if data is None and (training.get("data") or "data_sha256" not in training):
        own = training.get("data", "PATH")
        raise DataError(f"{folder} was not trained on the bundled data; name its data: --data {own}")
    images = load_data(build(TranslationConfig, {"data": data or ""}))
    if data is None and images.sha256 != training["data_sha256"]:
        raise DataError(f"{folder} was trained on other data or another split; its held-out places cannot be known")
    return images


async def _measure(folder: Path, data: TranslationData, part: str, details: Path | None) -> list[manifest_pb2.Metric]:
    found: list[manifest_pb2.Metric] = []
    rows: list[Mapping[str, object]] = []
    async with await LocalModel.open(folder) as model:
        # The second direction is the way back, from B to A.
        for side, direction in zip("AB", model.bundle.manifest.translation.directions, strict=False):
            places = await _translate_places(model, data, part, side, direction.target)
            classes = data.classes if data.classes and data.classes.domain != side else None
            found += _score(places, direction.target, classes)
            rows += _rows(places, direction.target, classes)
            found += await _compare_with_whole(model, data, part, side, direction)
    if details:
        _write_details(details, rows)
    return found


async def _translate_places(model: LocalModel, data: TranslationData, part: str, side: str, target: str) -> list[Place]:
    other = "B" if side == "A" else "A"
    transfer = ColourTransfer.find(*(map(read_image, data.files("train", each).values()) for each in (side, other)))
    can_return = len(model.bundle.manifest.translation.directions) > 1
    places = []
    for name in data.pairs(part):
        image, truth = (read_image(data.path(part, each, name)) for each in (side, other))
        if image.shape != truth.shape or min(image.shape[:2]) < _SMALLEST_SIDE:
            raise DataError(
                f"{part}A and {part}B: {name!r} has {image.shape[1]} × {image.shape[0]} and {truth.shape[1]} × "
                f"{truth.shape[0]} pixels; a pair must be of one size, at least {_SMALLEST_SIDE} each side"
            )
        translation, restored = await translate(model, image, target, cycle=can_return)
        made = {"": translation, _COPY: image, _TRANSFER: transfer(image)}
        places.append(Place(name, truth, made, metrics.absolute_error(restored, image) if can_return else np.nan))
    return places


def _score(places: Sequence[Place], target: str, classes: MapClasses | None) -> list[manifest_pb2.Metric]:
    """Every figure of one direction, with its interval and beside what needs no learning."""
    methods = list(places[0].made)
    found = []
    for name, unit, measure in (
        ("ssim", "higher is better", metrics.similarity),
        ("l1", "of 255, lower is better", metrics.absolute_error),
        ("sharpness", "of the true pictures' own, 1 is best", _relative_sharpness),
    ):
        values = {
            method: np.array([measure(place.made[method], place.truth) for place in places]) for method in methods
        }
        figures = {method: _mean_of(own) for method, own in values.items()}
        found.append(_metric(f"{name}_to_{target}", unit, figures, len(places)))
    if classes:
        counts = {method: np.stack([_confusion(place, method, classes) for place in places]) for method in methods}
        for index, name in enumerate(("pixel_accuracy", "class_accuracy", "mean_iou")):
            figures = {method: _class_score_of(own, index) for method, own in counts.items()}
            found.append(_metric(f"{name}_to_{target}", "share, higher is better", figures, len(places)))
    if not np.isnan(places[0].cycle_error):
        errors = np.array([place.cycle_error for place in places])
        found.append(_metric(f"cycle_l1_by_{target}", "of 255, lower is better", {"": _mean_of(errors)}, len(places)))
    return found


def _mean_of(values: NDArray[np.float64]) -> Callable[[NDArray[np.int64]], float]:
    return lambda chosen: float(values[chosen].mean())


def _class_score_of(counts: NDArray[np.int64], index: int) -> Callable[[NDArray[np.int64]], float]:
    return lambda chosen: metrics.class_scores(counts[chosen].sum(0))[index]


def _relative_sharpness(image: Pixels, truth: Pixels) -> float:
    return metrics.sharpness(image) / max(metrics.sharpness(truth), 1e-9)


def _confusion(place: Place, method: str, classes: MapClasses) -> NDArray[np.int64]:
    return metrics.confusion(classes.label(place.made[method]), classes.label(place.truth), len(classes.names))


def _metric(
    name: str, unit: str, figures: Mapping[str, Callable[[NDArray[np.int64]], float]], count: int
) -> manifest_pb2.Metric:
    everywhere = np.arange(count)
    low, high = bootstrap(count, figures[""])
    beside = [
        manifest_pb2.MetricReference(name=method, value=figure(everywhere))
        for method, figure in figures.items()
        if method
    ]
    beside += [
        manifest_pb2.MetricReference(name="95 % from", value=low),
        manifest_pb2.MetricReference(name="to", value=high),
    ]
    metric = manifest_pb2.Metric(name=name, value=figures[""](everywhere), unit=f"{unit}; {count} places")
    metric.reference, metric.reference_name = beside[0].value, beside[0].name
    metric.others.extend(beside[1:])
    return metric


async def _compare_with_whole(
    model: LocalModel, data: TranslationData, part: str, side: str, direction: manifest_pb2.TranslationDirection
) -> list[manifest_pb2.Metric]:
    """Compares the tiled picture with that of the same network run over the whole; none without its TorchScript."""
    manifest, folder = model.bundle.manifest, model.bundle.folder
    graph = next(graph for graph in manifest.graphs if graph.role == direction.graph)
    settings = manifest.translation
    if not graph.torchscript_file or not (folder / graph.torchscript_file).exists():
        return []
    network = load_torchscript(folder / graph.torchscript_file)
    stride = settings.tile_size - settings.overlap
    tile_count = -(-(LARGE - settings.overlap) // stride)
    # A seam is where a tile begins, and where the one before ends.
    seams = [index * stride for index in range(1, tile_count)]
    seams += [seam + settings.overlap for seam in seams if settings.overlap and seam + settings.overlap < LARGE]
    ratios: list[tuple[float, float]] = []
    errors = []
    for pixels in _large_pictures(data, part, side):
        tiled, _ = await translate(model, pixels, direction.target)
        scaled = pixels.astype(np.float32) / 255 * (settings.white - settings.black) + settings.black
        with torch.no_grad():
            whole = network(torch.from_numpy(scaled).permute(2, 0, 1)[None])
        whole_pixels = to_pixels(whole.numpy(), settings.black, settings.white)[0]
        errors.append(mean_squared_error(tiled, whole_pixels))
        if seams:  # a tile of that size has none
            ratios.append((metrics.seam_ratio(tiled, seams), metrics.seam_ratio(whole_pixels, seams)))
    found = [
        manifest_pb2.Metric(
            name=f"tiled_against_whole_to_{direction.target}",
            value=10 * float(np.log10(255**2 / max(np.mean(errors), _LEAST_ERROR))),
            unit=f"dB at {LARGE} pixels, higher is better",
        )
    ]
    if ratios:
        tiled_ratio, whole_ratio = np.mean(ratios, axis=0).tolist()
        found.append(
            manifest_pb2.Metric(
                name=f"seam_gradient_to_{direction.target}",
                value=tiled_ratio,
                unit="of that elsewhere, 1 is best",
                reference=whole_ratio,
                reference_name="the whole picture's, at the same lines",
            )
        )
    return found


def _large_pictures(data: TranslationData, part: str, side: str) -> list[Pixels]:
    """Pictures of 1024 × 1024: those of the data, or else held-out ones continued by reflection."""
    paths = list(data.files("large", side).values()) or list(data.files(part, side).values())
    pictures = []
    for path in paths[:_LARGE_PICTURES]:
        pixels = read_image(path)[:LARGE, :LARGE]
        missing = [(0, LARGE - length) for length in pixels.shape[:2]]
        pictures.append(np.pad(pixels, [*missing, (0, 0)], mode="symmetric"))
    return pictures


def _rows(places: Sequence[Place], target: str, classes: MapClasses | None) -> list[Mapping[str, object]]:
    rows: list[Mapping[str, object]] = []
    for place in places:
        for method, made in place.made.items():
            row: dict[str, object] = {
                "target": target, "place": place.name, "method": method or "bundle",
                "ssim": metrics.similarity(made, place.truth), "l1": metrics.absolute_error(made, place.truth),
                "sharpness": _relative_sharpness(made, place.truth), "pixel_accuracy": "", "mean_iou": "",
            }  # fmt: skip
            if classes:
                scores = metrics.class_scores(_confusion(place, method, classes))
                row["pixel_accuracy"], row["mean_iou"] = scores[0], scores[2]
            rows.append(row)
    return rows


def _write_details(path: Path, rows: Sequence[Mapping[str, object]]) -> None:
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.DictWriter(file, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        for row in rows:
            writer.writerow({key: f"{value:.6g}" if isinstance(value, float) else value for key, value in row.items()})
