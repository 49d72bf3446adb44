"""Answers GenerateImages: checks the request, draws the noise, runs the generator, encodes PNG."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve import __version__
from muserve.bundle import Bundle, ManifestError
from muserve.errors import FieldViolation, InvalidRequestError
from muserve.v1 import image_pb2, manifest_pb2
from muserve_server.tasks import noise
from muserve_server.tasks.kind import Call, TaskLimits
from muserve_server.tasks.media.png import contact_sheet, encode_png, to_pixels

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

    def __init__(self, bundle: Bundle, limits: TaskLimits) -> None:
        """Checks that the manifest's image settings fit its graphs.

        Raises:
            ManifestError: They do not.
        """
        self._bundle = bundle
        self._limits = limits
        self._settings = bundle.manifest.image
        self._label_index = {label: index for index, label in enumerate(self._settings.labels)}
        _check_settings(bundle, limits)

    async def run(self, request: image_pb2.GenerateImagesRequest, call: Call) -> image_pb2.GenerateImagesResponse:
        """Draws the images; see `Task.run`."""
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
        wrong: list[FieldViolation] = []
        count = self._count(request, wrong)
        indices = self._labels(request.labels, count, wrong)
        if request.first_sample + count > noise.MAX_SAMPLE_INDEX:
            allowed = f"first_sample + count at most 2^53, with count {count}"
            wrong.append(FieldViolation("first_sample", f"is {request.first_sample}; allowed: {allowed}"))
        truncation = request.truncation if request.HasField("truncation") else 1.0
        if not 0.0 < truncation <= 1.0:
            wrong.append(FieldViolation("truncation", f"is {truncation:g}; allowed: above 0 up to 1"))
        elif request.HasField("truncation") and not self._settings.truncation_input:
            wrong.append(FieldViolation("truncation", f"model {self._bundle} takes none; leave it out"))
        if request.layout not in image_pb2.ImageLayout.values():
            allowed = ", ".join(image_pb2.ImageLayout.keys())
            wrong.append(FieldViolation("layout", f"is {request.layout}; allowed: {allowed}"))
        if wrong:
            raise InvalidRequestError(violations=wrong)
        seed = request.seed if request.HasField("seed") else noise.draw_seed()
        if indices is None and self._label_index:
            indices = noise.integers(seed, request.first_sample, count, len(self._label_index))
        return _Plan(count, seed, request.first_sample, truncation, indices, request.layout == _CONTACT_SHEET)

    def _count(self, request: image_pb2.GenerateImagesRequest, wrong: list[FieldViolation]) -> int:
        count = int(request.count) if request.HasField("count") else max(1, len(request.labels))
        most = self._limits.max_samples_per_call
        pixels = self._settings.width * self._settings.height
        if len(request.labels) > most:
            wrong.append(FieldViolation("labels", f"are {len(request.labels)}; allowed: up to {most}"))
        elif not 1 <= count <= most:
            wrong.append(FieldViolation("count", f"is {count}; allowed: 1 up to {most}"))
        elif count * pixels > self._limits.max_pixels_per_call:
            fits = self._limits.max_pixels_per_call // pixels
            wrong.append(FieldViolation("count", f"is {count}; allowed: up to {fits} images of {pixels} pixels a call"))
        elif len(request.labels) > 1 and len(request.labels) != count:
            disagree = f"{len(request.labels)} labels came with count {count}; give one label, or one an image"
            wrong.append(FieldViolation("labels", disagree))
        return count

    def _labels(self, labels: Sequence[str], count: int, wrong: list[FieldViolation]) -> NDArray[np.int64] | None:
        if not labels:
            return None
        if not self._label_index:
            wrong.append(FieldViolation("labels", f"model {self._bundle} has no labels; leave them out"))
            return None
        known = ", ".join(self._label_index)
        for position, label in enumerate(labels[: self._limits.max_samples_per_call]):
            if label not in self._label_index:
                wrong.append(FieldViolation(f"labels[{position}]", f"is {label!r}; allowed: {known}"))
        if wrong:
            return None
        indices = np.array([self._label_index[label] for label in labels], dtype=np.int64)
        return np.repeat(indices, count) if len(indices) == 1 else indices

    def _encode(self, plan: _Plan, images: NDArray[np.float32]) -> image_pb2.GenerateImagesResponse:
        """Encodes the images and describes them. Runs off the event loop."""
        if not np.isfinite(images).all():
            raise ValueError(f"graph {self._settings.graph!r} of {self._bundle} gave values that are no numbers")
        pixels = to_pixels(images, self._settings.black, self._settings.white)
        labels = [] if plan.label_indices is None else [self._settings.labels[i] for i in plan.label_indices]
        response = image_pb2.GenerateImagesResponse()
        if plan.sheet:
            sheet = contact_sheet(pixels)
            facts = self._facts(plan, plan.first_sample) | {"count": plan.count, "labels": labels}
            self._add(response, sheet, facts, plan.first_sample, labels)
            return response
        for index, image in enumerate(pixels):
            sample = plan.first_sample + index
            label = labels[index : index + 1]
            facts = self._facts(plan, sample) | ({"label": label[0]} if label else {})
            self._add(response, image, facts, sample, label)
        return response

    def _facts(self, plan: _Plan, sample: int) -> dict[str, Any]:
        manifest = self._bundle.manifest
        return {
            "model": manifest.name,
            "version": manifest.version,
            "digest": self._bundle.digest,
            "seed": plan.seed,
            "sample": sample,
            "truncation": plan.truncation,
            "software": f"Muserve {__version__}",
        }

    @staticmethod
    def _add(
        response: image_pb2.GenerateImagesResponse,
        pixels: NDArray[np.uint8],
        facts: dict[str, Any],
        sample: int,
        labels: Sequence[str],
    ) -> None:
        height, width = pixels.shape[:2]
        response.images.add(png=encode_png(pixels, facts), width=width, height=height, sample=sample, labels=labels)


def _check_settings(bundle: Bundle, limits: TaskLimits) -> None:
    settings = bundle.manifest.image
    graph = next((graph for graph in bundle.manifest.graphs if graph.role == settings.graph), None)
    if graph is None:
        raise ManifestError(f"{bundle}: image.graph is {settings.graph!r}, which is no graph of the bundle")
    inputs = {spec.name: spec for spec in graph.inputs}
    outputs = {spec.name: spec for spec in graph.outputs}
    float32, int64 = manifest_pb2.DATA_TYPE_FLOAT32, manifest_pb2.DATA_TYPE_INT64
    needed = {settings.latent_input: (float32, [-1, settings.latent_size])}
    if settings.labels or settings.label_input:
        needed[settings.label_input] = (int64, [-1])
    if settings.truncation_input:
        needed[settings.truncation_input] = (float32, [-1])
    if {name: (spec.dtype, list(spec.shape)) for name, spec in inputs.items()} != needed:
        raise ManifestError(f"{bundle}: the image settings ask for the inputs {needed}, the graph has {dict(inputs)}")
    if not 1 <= settings.latent_size <= _MAX_LATENT_SIZE:
        raise ManifestError(f"{bundle}: latent_size is {settings.latent_size}; allowed: 1 up to {_MAX_LATENT_SIZE}")
    image = outputs.get(settings.image_output)
    shape = [-1, settings.channels, settings.height, settings.width]
    if image is None or list(image.shape) != shape or settings.channels not in (1, 3) or not min(shape[2:]) > 0:
        raise ManifestError(f"{bundle}: output {settings.image_output!r} must have the shape {shape}, 1 or 3 channels")
    if image.dtype != float32:
        raise ManifestError(f"{bundle}: output {settings.image_output!r} must be float32")
    if settings.width * settings.height > limits.max_pixels_per_call:
        raise ManifestError(
            f"{bundle}: one image has {settings.width * settings.height} pixels; max_pixels_per_call of this server is "
            f"{limits.max_pixels_per_call}"
        )
    if len(set(settings.labels)) != len(settings.labels) or bool(settings.labels) != bool(settings.label_input):
        raise ManifestError(f"{bundle}: labels must be unique, and come together with label_input")
    if not math.isfinite(settings.white - settings.black) or settings.white == settings.black:
        raise ManifestError(f"{bundle}: black is {settings.black} and white is {settings.white}; they must differ")
