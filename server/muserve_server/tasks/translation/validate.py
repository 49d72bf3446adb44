"""Whether a bundle's translation settings fit its graphs and this server."""

from __future__ import annotations

import math

from muserve.bundle import Bundle, ManifestError
from muserve.v1 import manifest_pb2
from muserve_server.tasks.translation.limits import TranslationLimits

__all__ = ["check_settings"]

_FREE = -1


def check_settings(bundle: Bundle, limits: TranslationLimits) -> None:
    """Checks that translation settings agree with themselves, with the bundle's graphs and with this server.

    Raises:
        ManifestError: They do not; the text names the field.
    """
    settings = bundle.manifest.translation
    size, overlap = settings.tile_size, settings.overlap
    if not 1 <= size * size <= limits.max_pixels_per_call:
        raise ManifestError(
            f"{bundle}: translation.tile_size is {size}; allowed: 1 and more, and no tile of more than "
            f"max_pixels_per_call of this server, {limits.max_pixels_per_call}"
        )
    if 2 * overlap >= size:
        raise ManifestError(f"{bundle}: translation.overlap is {overlap}; it must be less than half of {size}")
    if not math.isfinite(settings.white - settings.black) or settings.white == settings.black:
        raise ManifestError(f"{bundle}: black is {settings.black} and white is {settings.white}; they must differ")
    _check_directions(bundle)
    for direction in settings.directions:
        _check_graph(bundle, direction.graph)


def _check_directions(bundle: Bundle) -> None:
    directions = bundle.manifest.translation.directions
    if not 1 <= len(directions) <= 2:
        raise ManifestError(f"{bundle}: translation.directions are {len(directions)}; allowed: one or two")
    for direction in directions:
        if not direction.source or not direction.target or direction.source == direction.target:
            names = f"{direction.source!r} to {direction.target!r}"
            raise ManifestError(f"{bundle}: a translation direction is {names}; the two must be different names")
    if len({(direction.source, direction.target) for direction in directions}) < len(directions) or (
        len({frozenset((direction.source, direction.target)) for direction in directions}) > 1
    ):
        raise ManifestError(f"{bundle}: the second translation direction must be the way back of the first")


def _check_graph(bundle: Bundle, role: str) -> None:
    settings = bundle.manifest.translation
    graph = next((graph for graph in bundle.manifest.graphs if graph.role == role), None)
    if graph is None:
        raise ManifestError(
            f"{bundle}: a translation direction names the graph {role!r}, which is not a graph of the bundle"
        )
    sides = (("input", graph.inputs, settings.image_input), ("output", graph.outputs, settings.image_output))
    for side, specs, name in sides:
        fits = [spec.name for spec in specs] == [name] and _is_image(specs[0], settings.tile_size)
        if not fits:
            actual = {spec.name: list(spec.shape) for spec in specs}
            raise ManifestError(
                f"{bundle}: graph {role!r} must have one {side}, {name!r}, float32 [-1, 3, {settings.tile_size}, "
                f"{settings.tile_size}] or with dynamic sizes; it has {actual}"
            )


def _is_image(spec: manifest_pb2.TensorSpec, size: int) -> bool:
    if spec.dtype != manifest_pb2.DATA_TYPE_FLOAT32 or len(spec.shape) != 4:
        return False
    batch, channels, *sides = spec.shape
    return (batch, channels) == (-1, 3) and all(side in (size, _FREE) for side in sides)
