"""How models of translations are verified."""

from __future__ import annotations

import math

from muserve.v1 import manifest_pb2, translation_pb2
from muserve_client.calls.probes import MAX_OTHER_ITEMS, OTHER_SEEDS, SEED, Answer, Probe, answer_of, copy_of
from muserve_client.calls.translation.flow import TRANSLATE_IMAGE
from muserve_client.image_files import write_png

__all__ = ["PROBES"]

_OTHER_SIDE = 24
_MAX_SIDE = 512


def _read(response: translation_pb2.TranslateImageResponse) -> Answer:
    # All but the timings: every file, and what is said beside it.
    content = copy_of(response)
    content.ClearField("info")
    return answer_of(response, {"the image": content.SerializeToString(deterministic=True)})


def _default_translation(manifest: manifest_pb2.ModelManifest) -> translation_pb2.TranslateImageRequest:
    """Makes an image that goes a pixel beyond one tile; there and back, where the model can."""
    settings = manifest.translation
    side = max(1, min(settings.tile_size, _MAX_SIDE))
    target = settings.directions[0].target if settings.directions else ""
    return translation_pb2.TranslateImageRequest(
        image=_pattern(side + 1, side, SEED), target=target, cycle=len(settings.directions) > 1
    )


def _other_translation(
    request: translation_pb2.TranslateImageRequest, index: int
) -> translation_pb2.TranslateImageRequest:
    """Makes another call with an image of our own, of a size of its own."""
    image = _pattern(_OTHER_SIDE + index % MAX_OTHER_ITEMS, _OTHER_SIDE, OTHER_SEEDS + index)
    return translation_pb2.TranslateImageRequest(
        model=request.model, version=request.version, image=image, target=request.target
    )


def _pattern(width: int, height: int, seed: int) -> bytes:
    """Draws waves of colour that no other seed draws."""
    pixels = bytes(
        int(127.5 + 127 * math.sin((x * (3 + channel) + y * (5 - channel) + seed % 997 * (channel + 1)) / 9))
        for y in range(height)
        for x in range(width)
        for channel in range(3)
    )
    return write_png(pixels, width=width, height=height, channels=3)


PROBES = (
    Probe(
        task="translation",
        request=translation_pb2.TranslateImageRequest,
        method=TRANSLATE_IMAGE,
        nouns=("translations", "images", "bytes"),
        read=_read,
        default=_default_translation,
        other=_other_translation,
        alone=lambda request, _index: copy_of(request),
    ),
)
