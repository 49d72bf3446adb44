"""Answers GenerateImages: checks the request, draws the noise, runs the generator, encodes PNG."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.bundle import Bundle, ManifestError
from muserve.v1 import image_pb2
from muserve_server.tasks import noise
from muserve_server.tasks.graphs import FLOAT32, INT64, check_tensors, find_graph, specs_of
from muserve_server.tasks.image.limits import ImageLimits
from muserve_server.tasks.kind import Call, Handler
from muserve_server.tasks.media.png import contact_sheet, encode_png, to_pixels
from muserve_server.tasks.media.provenance import provenance
from muserve_server.tasks.requests import Violations, seed_of

__all__ = ["ImageTask"]

_MAX_LATENT_SIZE = 2**16
_INLINE_PIXELS = 2048
"""Up to so many pixels, encoding is shorter than a hop to a thread and back: two digits take 0.1 ms."""
_CONTACT_SHEET = image_pb2.IMAGE_LAYOUT_CONTACT_SHEET


@dataclass(frozen=True)
class _Plan:
    """A checked request, with everything that was left open decided."""

    count: int
    seed: int
    first_sample: int
    truncation: float
    label_indices: NDArray[np.int64] | None
    """int64 [count]; None for a model without labels."""
    sheet: bool


class ImageTask:
    """The image task of one bundle."""

    def __init__(self, bundle: Bundle, limits: ImageLimits) -> None:
        """Checks that the manifest's image settings fit its graphs.

        Raises:
            ManifestError: They do not.
        """
        self._bundle = bundle
        self._limits = limits
        self._settings = bundle.manifest.image
        self._label_index = {label: index for index, label in enumerate(self._settings.labels)}
        _check_settings(bundle, limits)

    def handlers(self) -> Mapping[str, Handler]:
        """Returns the one handler; see `Task`."""
        return {"GenerateImages": self._generate}

    async def _generate(self, request: image_pb2.GenerateImagesRequest, call: Call) -> image_pb2.GenerateImagesResponse:
        plan = self._plan(request)
        settings = self._settings
        rows: dict[str, NDArray[Any]] = {
            settings.latent_input: noise.standard_normal(plan.seed, plan.first_sample, plan.count, settings.latent_size)
        }
        if plan.label_indices is not None:
            rows[settings.label_input] = plan.label_indices
        if settings.truncation_input:
            rows[settings.truncation_input] = np.full(plan.count, plan.truncation, dtype=np.float32)
        outputs = await call.infer(settings.graph, rows)
        images = outputs[settings.image_output]
        if plan.count * settings.width * settings.height <= _INLINE_PIXELS:
            response = await call.run_soon(self._encode, plan, images)
        else:
            response = await call.offload(self._encode, plan, images)
        response.info.seed = plan.seed
        return response

    def _plan(self, request: image_pb2.GenerateImagesRequest) -> _Plan:
        violations = Violations()
        count = self._count(request, violations)
        indices = self._labels(request.labels, count, violations)
        first_sample = violations.first_sample(request, count)
        truncation = request.truncation if request.HasField("truncation") else 1.0
        if not 0.0 < truncation <= 1.0:
            violations.refuse("truncation", f"is {truncation:g}; allowed: above 0 up to 1")
        elif request.HasField("truncation") and not self._settings.truncation_input:
            violations.refuse("truncation", f"model {self._bundle} takes none; leave it out")
        violations.member("layout", request.layout, image_pb2.ImageLayout)
        violations.check()
        seed = seed_of(request)
        if indices is None and self._label_index:
            indices = noise.integers(seed, first_sample, count, len(self._label_index))
        return _Plan(count, seed, first_sample, truncation, indices, request.layout == _CONTACT_SHEET)

    def _count(self, request: image_pb2.GenerateImagesRequest, violations: Violations) -> int:
        count = int(request.count) if request.HasField("count") else max(1, len(request.labels))
        maximum = self._limits.max_samples_per_call
        pixels = self._settings.width * self._settings.height
        if len(request.labels) > maximum:
            violations.refuse("labels", f"are {len(request.labels)}; allowed: up to {maximum}")
        elif not 1 <= count <= maximum:
            violations.refuse("count", f"is {count}; allowed: 1 up to {maximum}")
        elif count * pixels > self._limits.max_pixels_per_call:
            fits = self._limits.max_pixels_per_call // pixels
            violations.refuse("count", f"is {count}; allowed: up to {fits} images of {pixels} pixels a call")
        elif len(request.labels) > 1 and len(request.labels) != count:
            disagree = f"{len(request.labels)} labels came with count {count}; give one label, or one an image"
            violations.refuse("labels", disagree)
        return count

    def _labels(self, labels: Sequence[str], count: int, violations: Violations) -> NDArray[np.int64] | None:
        if not labels:
            return None
        if not self._label_index:
            violations.refuse("labels", f"model {self._bundle} has no labels; leave them out")
            return None
        known = ", ".join(self._label_index)
        for position, label in enumerate(labels[: self._limits.max_samples_per_call]):
            if label not in self._label_index:
                violations.refuse(f"labels[{position}]", f"is {label!r}; allowed: {known}")
        if violations:
            return None
        indices = np.array([self._label_index[label] for label in labels], dtype=np.int64)
        return np.repeat(indices, count) if len(indices) == 1 else indices

    def _encode(self, plan: _Plan, images: NDArray[np.float32]) -> image_pb2.GenerateImagesResponse:
        """Encodes the images and describes them. Runs off the event loop."""
        if not np.isfinite(images).all():
            raise ValueError(f"graph {self._settings.graph!r} of {self._bundle} returned NaN or infinity")
        pixels = to_pixels(images, self._settings.black, self._settings.white)
        labels = [] if plan.label_indices is None else [self._settings.labels[i] for i in plan.label_indices]
        response = image_pb2.GenerateImagesResponse()
        if plan.sheet:
            sheet = contact_sheet(pixels)
            metadata = self._metadata(plan, plan.first_sample) | {"count": plan.count, "labels": labels}
            self._add(response, sheet, metadata, plan.first_sample, labels)
            return response
        for index, image in enumerate(pixels):
            sample = plan.first_sample + index
            label = labels[index : index + 1]
            metadata = self._metadata(plan, sample) | ({"label": label[0]} if label else {})
            self._add(response, image, metadata, sample, label)
        return response

    def _metadata(self, plan: _Plan, sample: int) -> dict[str, Any]:
        return provenance(self._bundle, seed=plan.seed, sample=sample, truncation=plan.truncation)

    @staticmethod
    def _add(
        response: image_pb2.GenerateImagesResponse,
        pixels: NDArray[np.uint8],
        metadata: dict[str, Any],
        sample: int,
        labels: Sequence[str],
    ) -> None:
        height, width = pixels.shape[:2]
        response.images.add(png=encode_png(pixels, metadata), width=width, height=height, sample=sample, labels=labels)


def _check_settings(bundle: Bundle, limits: ImageLimits) -> None:
    settings = bundle.manifest.image
    graph = find_graph(bundle, "image.graph", settings.graph)
    needed = {settings.latent_input: (FLOAT32, [-1, settings.latent_size])}
    if settings.labels or settings.label_input:
        needed[settings.label_input] = (INT64, [-1])
    if settings.truncation_input:
        needed[settings.truncation_input] = (FLOAT32, [-1])
    check_tensors(bundle, graph, "inputs", needed)
    if not 1 <= settings.latent_size <= _MAX_LATENT_SIZE:
        raise ManifestError(f"{bundle}: latent_size is {settings.latent_size}; allowed: 1 up to {_MAX_LATENT_SIZE}")
    shape = [-1, settings.channels, settings.height, settings.width]
    image = specs_of(graph.outputs).get(settings.image_output)
    if image != (FLOAT32, shape) or settings.channels not in (1, 3) or not min(shape[2:]) > 0:
        raise ManifestError(
            f"{bundle}: output {settings.image_output!r} must have the shape {shape}, 1 or 3 channels, as float32"
        )
    if settings.width * settings.height > limits.max_pixels_per_call:
        raise ManifestError(
            f"{bundle}: one image has {settings.width * settings.height} pixels; max_pixels_per_call of this server is "
            f"{limits.max_pixels_per_call}"
        )
    if len(set(settings.labels)) != len(settings.labels) or bool(settings.labels) != bool(settings.label_input):
        raise ManifestError(f"{bundle}: labels must be unique, and come together with label_input")
    if not math.isfinite(settings.white - settings.black) or settings.white == settings.black:
        raise ManifestError(f"{bundle}: black is {settings.black} and white is {settings.white}; they must differ")
