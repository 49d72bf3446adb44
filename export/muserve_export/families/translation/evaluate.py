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
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from skimage.metrics import mean_squared_error

from muserve.v1 import manifest_pb2
from muserve_export.bundling.graphs import load_torchscript
from muserve_export.errors import DataError
from muserve_export.families.translation import metrics
from muserve_export.families.translation.classes import MapClasses
from muserve_export.families.translation.config import TranslationConfig
from muserve_export.families.translation.data import TranslationData, read_image
from muserve_export.families.translation.metrics import ColourTransfer
from muserve_export.families.translation.served import translate
from muserve_export.families.translation.sources import LARGE
from muserve_export.measuring import Figures, bootstrap, make_metric
from muserve_server.model import LocalModel
from muserve_server.tasks.media.png import to_pixels

__all__ = ["Place", "measure"]

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


def measure(folder: Path, _config: TranslationConfig, data: TranslationData, part: str) -> Figures:
    """Measures a bundle on held-out pairs.

    Args:
        folder: The bundle.
        data: Images to measure against.
        part: "validation" while choosing, "test" to report.

    Returns:
        The figures, and those of each place.

    Raises:
        DataError: There are no pairs to measure by.
        BundleError: The bundle cannot be opened.
    """
    names = data.pairs(part)
    if len(names) < _FEWEST_PLACES:
        raise DataError(
            f"{data.folder} has {len(names)} pairs in {part}A and {part}B; at least {_FEWEST_PLACES} are needed to "
            "measure: give images of one place the same name in both, or leave out --evaluate"
        )
    return asyncio.run(_measure(folder, data, part))


async def _measure(folder: Path, data: TranslationData, part: str) -> Figures:
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
    return Figures(found, rows)


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
    beside = {method: figure(everywhere) for method, figure in figures.items() if method}
    value, interval = figures[""](everywhere), bootstrap(count, figures[""])
    return make_metric(name, value, f"{unit}; {count} places", beside, interval=interval)


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
        make_metric(
            f"tiled_against_whole_to_{direction.target}",
            10 * float(np.log10(255**2 / max(np.mean(errors), _LEAST_ERROR))),
            f"dB at {LARGE} pixels, higher is better",
        )
    ]
    if ratios:
        tiled_ratio, whole_ratio = np.mean(ratios, axis=0).tolist()
        found.append(
            make_metric(
                f"seam_gradient_to_{direction.target}",
                tiled_ratio,
                "of that elsewhere, 1 is best",
                {"the whole picture's, at the same lines": whole_ratio},
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
