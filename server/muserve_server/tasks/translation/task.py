"""Answers TranslateImage: checks and decodes the image, runs the graph tile by tile, sews and encodes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from muserve.bundle import Bundle
from muserve.configuration import nearest
from muserve.v1 import manifest_pb2, translation_pb2
from muserve_server.tasks.kind import Call, Handler
from muserve_server.tasks.media.png import encode_png
from muserve_server.tasks.media.provenance import provenance
from muserve_server.tasks.requests import Violations, refuse
from muserve_server.tasks.translation.containers import Header, ImageError, read_header
from muserve_server.tasks.translation.decoding import Picture, check_size, decode
from muserve_server.tasks.translation.gate import PixelGate
from muserve_server.tasks.translation.limits import TranslationLimits
from muserve_server.tasks.translation.pictures import (
    mean_absolute_error,
    side_by_side,
    side_by_side_width,
    with_alpha,
)
from muserve_server.tasks.translation.tiles import Quilt, Tiling
from muserve_server.tasks.translation.validate import check_settings

__all__ = ["TranslationTask"]

_TILES_PER_RUN = 8
"""Tiles of one call that are in floats at a time."""

_FEW_PIXELS = 2**19
"""Up to these a call does not wait for others' pixels: two images of 512 × 512."""

Pixels = NDArray[np.uint8]
Direction = manifest_pb2.TranslationDirection


@dataclass(frozen=True)
class _Plan:
    """A checked request."""

    header: Header
    """Of the image, without its parts: a call that waits holds no copy of them."""
    there: Direction
    """The direction asked for."""
    back: Direction | None
    """The way back, if the cycle is asked for."""
    side_by_side: bool
    tile_size: int

    @property
    def pictures(self) -> int:
        """Images that the call holds: its own, its translation, and the cycle."""
        return 2 if self.back is None else 3

    @property
    def pixels(self) -> int:
        """Pixels of all that the call holds; a side shorter than a tile counts as one."""
        width, height = max(self.header.width, self.tile_size), max(self.header.height, self.tile_size)
        sheet = side_by_side_width(max(width, height), self.pictures) * min(width, height) if self.side_by_side else 0
        return self.pictures * width * height + sheet


class TranslationTask:
    """The translation task of one bundle."""

    def __init__(self, bundle: Bundle, limits: TranslationLimits) -> None:
        """Checks that the manifest's translation settings fit its graphs.

        Raises:
            ManifestError: They do not.
        """
        self._bundle = bundle
        self._limits = limits
        self._settings = bundle.manifest.translation
        check_settings(bundle, limits)
        self._directions = {direction.target: direction for direction in self._settings.directions}
        self._gate = PixelGate(limits.max_pixels_in_work)
        # Every run must fit into the queue, as calls of that many samples do.
        self._tiles_per_run = min(_TILES_PER_RUN, limits.max_samples_per_call)

    def handlers(self) -> Mapping[str, Handler]:
        """Returns the one handler; see `Task`."""
        return {"TranslateImage": self._handle}

    async def _handle(
        self, request: translation_pb2.TranslateImageRequest, call: Call
    ) -> translation_pb2.TranslateImageResponse:
        plan = await call.offload(self._plan, request)
        if plan.pixels <= _FEW_PIXELS:
            return await self._answer(request, plan, call)  # so small that the queue's bound is enough
        async with self._gate.hold(plan.pixels):
            return await self._answer(request, plan, call)

    async def _answer(
        self, request: translation_pb2.TranslateImageRequest, plan: _Plan, call: Call
    ) -> translation_pb2.TranslateImageResponse:
        picture = await call.offload(_decode, request)
        images = [picture.rgb]
        for direction in filter(None, (plan.there, plan.back)):
            images.append(await self._translate(images[-1], direction.graph, call))
        return await call.offload(self._encode, plan, images, picture.alpha)

    async def _translate(self, pixels: Pixels, graph: str, call: Call) -> Pixels:
        """Runs a graph over an image, some tiles at a time."""
        settings = self._settings
        height, width = pixels.shape[:2]
        tiling = Tiling(height, width, settings.tile_size, settings.overlap)
        quilt = Quilt(tiling)
        for first in range(0, tiling.count, self._tiles_per_run):
            last = min(first + self._tiles_per_run, tiling.count)
            tiles = await call.offload(tiling.cut, pixels, first, last, black=settings.black, white=settings.white)
            outputs = await call.infer(graph, {settings.image_input: tiles})
            await call.offload(self._sew, quilt, outputs[settings.image_output], graph)
        return quilt.pixels

    def _sew(self, quilt: Quilt, tiles: NDArray[np.float32], graph: str) -> None:
        size = self._settings.tile_size
        if tiles.shape[1:] != (3, size, size):
            raise ValueError(f"graph {graph!r} of {self._bundle} returned tiles of the shape {tiles.shape[1:]}")
        if not np.isfinite(tiles).all():
            raise ValueError(f"graph {graph!r} of {self._bundle} returned NaN or infinity")
        quilt.add(tiles, black=self._settings.black, white=self._settings.white)

    def _plan(self, request: translation_pb2.TranslateImageRequest) -> _Plan:
        """Checks all that can be checked before a pixel is decoded."""
        violations = Violations()
        there = self._direction(request.target, violations)
        back = self._directions.get(there.source) if there and request.cycle else None
        if request.cycle and len(self._directions) < 2:
            violations.refuse("cycle", f"{self._bundle} translates in one direction only; leave it out")
        header = None
        try:
            header = read_header(request.image)
            check_size(header, self._limits.max_pixels_per_call, self._settings.tile_size)
        except ImageError as error:
            violations.refuse("image", str(error))
        if violations or header is None or there is None:
            violations.fail()
        plan = _Plan(replace(header, parts=()), there, back, request.side_by_side, self._settings.tile_size)
        self._check_sheet(plan)
        return plan

    def _direction(self, target: str, violations: Violations) -> Direction | None:
        if not target and len(self._directions) == 1:
            return next(iter(self._directions.values()))
        if target not in self._directions:
            known = sorted(self._directions)
            text = f"is {target!r}; {nearest(target, known)}" if target else f"is not set; valid: {', '.join(known)}"
            violations.refuse("target", text)
        return self._directions.get(target)

    def _check_sheet(self, plan: _Plan) -> None:
        if not plan.side_by_side:
            return
        width, height = plan.header.width, plan.header.height
        if plan.header.orientation >= 5:
            width, height = height, width
        size, maximum = side_by_side_width(width, plan.pictures) * height, self._limits.max_pixels_per_call
        if size > maximum:
            text = f"makes a picture of {size:,} pixels of an image of {width} × {height}; allowed: up to {maximum:,}"
            refuse("side_by_side", f"{text}; leave it out")

    def _encode(
        self, plan: _Plan, images: Sequence[Pixels], alpha: Pixels | None
    ) -> translation_pb2.TranslateImageResponse:
        """Encodes the images and describes them. Runs off the event loop."""
        image, translated, *cycle = images
        height, width = translated.shape[:2]
        metadata = provenance(self._bundle, source=plan.there.source, target=plan.there.target)
        response = translation_pb2.TranslateImageResponse(
            png=encode_png(with_alpha(translated, alpha), metadata),
            width=width,
            height=height,
            source=plan.there.source,
            target=plan.there.target,
        )
        for restored in cycle:
            response.cycle.png = encode_png(with_alpha(restored, alpha), metadata | {"cycle": True})
            response.cycle.mean_absolute_error = mean_absolute_error(image, restored, alpha)
        if plan.side_by_side:
            response.side_by_side_png = encode_png(
                side_by_side(images, alpha), metadata | {"side_by_side": len(images)}
            )
        return response


def _decode(request: translation_pb2.TranslateImageRequest) -> Picture:
    try:
        return decode(read_header(request.image))
    except ImageError as error:
        refuse("image", str(error), cause=error)
