"""Measures a digits bundle: samples made by the code that serves them, beside real images that nothing learned from.

Figures, each beside the real data's own:
- label agreement: share of samples that the judge takes for the label that was asked for.
- Fréchet distance of the judge's features (Heusel et al., "GANs Trained by a Two Time-Scale Update Rule", 2017; the
  judge in Inception's place). Beside it the floor: real training images against the same held-out ones.
- variance of the judge's features within a class, of the held-out images' own; without labels over all samples.
- near copies: samples closer to a training image, in pixels, than 99 % of the held-out images are.
- train on synthetic, test on real: accuracy of a classifier that saw samples only; beside it one that saw as many real.
"""

from __future__ import annotations

import asyncio
import io
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from muserve.v1 import image_pb2, manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.digits.data import DigitsData, ImageSet
from muserve_export.families.digits.judge import Judge, load_judge, train_classifier
from muserve_export.measuring import Figures, make_metric
from muserve_server.model import LocalModel

__all__ = ["measure"]

SAMPLES = 1000
SEED = 20_000
_FLOOR_DRAWS = 20
_PER_CALL = 250
_CHUNK = 256
_FEWEST_IMAGES, _FEWEST_IN_CLASS = 20, 2


@dataclass(frozen=True)
class _Reals:
    """What the samples are compared with."""

    held_out: ImageSet
    features: NDArray[np.float64]
    """The judge's features of the held-out images, [image, feature]."""
    classes: NDArray[np.int64]
    """What the judge takes the held-out images for."""


def measure(folder: Path, config: DigitsConfig, data: DigitsData, part: str) -> Figures:
    """Measures a bundle on 1,000 samples, as many of each label.

    Args:
        folder: The bundle.
        config: What it was trained with.
        data: Images to measure against.
        part: "validation" while choosing, "test" to report.

    Raises:
        DataError: Too few held-out images to say anything.
        BundleError: The bundle cannot be opened.
    """
    held_out: ImageSet = getattr(data, part)
    if len(held_out) < _FEWEST_IMAGES:
        raise DataError(
            f"the {part} part has {len(held_out)} images; at least {_FEWEST_IMAGES} are needed to measure: "
            "give more images, or leave out --evaluate"
        )
    judge = load_judge(data, config)
    samples, conditional = asyncio.run(_draw(folder, data.labels))
    features, classes = judge.look(held_out.images)
    reals = _Reals(held_out, features, classes)
    metrics = _measure_likeness(judge, data, reals, samples, conditional=conditional)
    metrics.append(_measure_copies(data, held_out, samples))
    if conditional:
        agreement = float((judge.look(samples.images)[1] == samples.labels).mean())
        real = {"judge on held-out images": float((classes == held_out.labels).mean())}
        metrics.insert(0, make_metric("label_agreement", agreement, "share, higher is better", real))
        metrics.append(_measure_usefulness(data, held_out, samples))
    return Figures(metrics)


async def _draw(folder: Path, labels: Sequence[str]) -> tuple[ImageSet, bool]:
    """Draws the samples through the image task; returns them and whether the model knows labels."""
    async with await LocalModel.open(folder) as model:
        known = list(model.bundle.manifest.image.labels)
        if known and known != list(labels):
            raise DataError(f"the bundle draws {known}, the data has the classes {list(labels)}; they must be the same")
        wanted = np.arange(SAMPLES) % max(1, len(known))
        pixels = []
        for first in range(0, SAMPLES, _PER_CALL):
            request = image_pb2.GenerateImagesRequest(count=_PER_CALL, seed=SEED, first_sample=first)
            request.labels.extend(known[index] for index in wanted[first : first + _PER_CALL] if known)
            pixels += [_decode(image.png) for image in (await model.answer(request)).images]
    return ImageSet(np.stack(pixels), wanted.astype(np.int64)), bool(known)


def _decode(png: bytes) -> NDArray[np.uint8]:
    with Image.open(io.BytesIO(png)) as image:
        pixels = np.asarray(image, dtype=np.uint8)
    return pixels[None] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)  # [channel, height, width]


def _measure_likeness(
    judge: Judge, images: DigitsData, reals: _Reals, samples: ImageSet, *, conditional: bool
) -> list[manifest_pb2.Metric]:
    """Fréchet distance and variance, each beside that of real training images, drawn 20 times."""
    drawn = judge.look(samples.images)[0]
    known = judge.look(images.training.images)[0]
    floors, own_variances = [], []
    for chosen in _floor_draws(images.training, SAMPLES):
        floors.append(_frechet(known[chosen], reals.features))
        groups = images.training.labels[chosen] if conditional else np.zeros(len(chosen), np.int64)
        own_variances.append(_variance_ratio(known[chosen], groups, reals, conditional=conditional))
    groups = samples.labels if conditional else np.zeros(len(samples), np.int64)
    within = "within a class" if conditional else "over all samples"
    real = f"real training images, mean of {_FLOOR_DRAWS} draws"
    distance = _frechet(drawn, reals.features)
    variance = _variance_ratio(drawn, groups, reals, conditional=conditional)
    return [
        make_metric("frechet_distance", distance, "lower is better", {real: float(np.mean(floors))}),
        make_metric(
            "class_variance_ratio" if conditional else "overall_variance_ratio",
            variance,
            f"of the held-out images' own, {within}; 1 is best",
            {real: float(np.mean(own_variances))},
        ),
    ]


def _floor_draws(training: ImageSet, count: int) -> Iterator[NDArray[np.int64]]:
    """Draws as many of each class as the samples have, as far as there are."""
    classes = np.unique(training.labels)
    random = np.random.default_rng(SEED)
    for _ in range(_FLOOR_DRAWS):
        members = (np.flatnonzero(training.labels == label) for label in classes)
        yield np.concatenate([random.permutation(own)[: count // len(classes)] for own in members])


def _frechet(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Fréchet distance of two normal distributions fitted to features [image, feature]."""
    one, other = (np.cov(features, rowvar=False) for features in (first, second))
    # The trace of the root of one @ other, by symmetric matrices alone, so that singular ones do no harm.
    values, vectors = np.linalg.eigh(one)
    root = (vectors * np.sqrt(np.maximum(values, 0))) @ vectors.T
    overlap = np.sqrt(np.maximum(np.linalg.eigvalsh(root @ other @ root), 0)).sum()
    return float(np.sum((first.mean(0) - second.mean(0)) ** 2) + np.trace(one) + np.trace(other) - 2 * overlap)


def _variance_ratio(
    features: NDArray[np.float64], groups: NDArray[np.int64], reals: _Reals, *, conditional: bool
) -> float:
    """Mean over the groups of total variance within a group, of the held-out images' own."""
    real_groups = reals.held_out.labels if conditional else np.zeros(len(reals.held_out), np.int64)
    ratios = [
        features[groups == group].var(0).sum() / reals.features[real_groups == group].var(0).sum()
        for group in np.unique(groups)
        if (real_groups == group).sum() >= _FEWEST_IN_CLASS
    ]
    if not ratios:
        raise DataError(f"no class has {_FEWEST_IN_CLASS} held-out images; its variance cannot be measured")
    return float(np.mean(ratios))


def _measure_copies(images: DigitsData, held_out: ImageSet, samples: ImageSet) -> manifest_pb2.Metric:
    limit = np.percentile(_nearest(held_out, images.training), 1)
    share = float((_nearest(samples, images.training) < limit).mean())
    unit = "share closer to a training image than 99 % of held-out images are; lower is better"
    return make_metric("near_copies", share, unit, {"held-out images": 0.01})


def _nearest(images: ImageSet, training: ImageSet) -> NDArray[np.float64]:
    """Euclidean distance in pixels, 0 … 1 each, of each image to the nearest training image: [image]."""
    ours, theirs = (part.images.reshape(len(part), -1).astype(np.float32) / 255 for part in (images, training))
    lengths = (theirs**2).sum(1)[None]
    nearest = np.empty(len(ours))
    for start in range(0, len(ours), _CHUNK):  # all at once would take gigabytes for the whole MNIST
        chunk = ours[start : start + _CHUNK]
        squares = (chunk**2).sum(1)[:, None] + lengths - 2 * chunk @ theirs.T
        nearest[start : start + _CHUNK] = np.sqrt(np.maximum(squares.min(1), 0))
    return nearest


def _measure_usefulness(images: DigitsData, held_out: ImageSet, samples: ImageSet) -> manifest_pb2.Metric:
    chosen = next(_floor_draws(images.training, SAMPLES))
    reals = ImageSet(images.training.images[chosen], images.training.labels[chosen])
    accuracies = []
    for part in (samples, reals):
        classifier = train_classifier(part, images.validation, classes=len(images.labels))
        accuracies.append(float((classifier.look(held_out.images)[1] == held_out.labels).mean()))
    return make_metric(
        "train_on_synthetic_accuracy",
        accuracies[0],
        "share of held-out images classified right; higher is better",
        {f"trained on {len(reals):,} real images": accuracies[1]},
    )
