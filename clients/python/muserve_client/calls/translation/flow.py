"""The call that translates an image into another domain."""

from __future__ import annotations

from functools import partial
from typing import Any

from muserve.v1 import translation_pb2
from muserve_client.calls.translation.result import Translation, read_translation
from muserve_client.fields import Fields
from muserve_client.flows import Flow, Rpc, Work, method_of
from muserve_client.image_files import image_bytes

__all__ = ["TRANSLATE_IMAGE", "translate"]

TRANSLATE_IMAGE = method_of(translation_pb2.DESCRIPTOR.services_by_name["ImageTranslationService"], "TranslateImage")


def translate(
    image: Any,
    target: str = "",
    *,
    cycle: bool = False,
    side_by_side: bool = False,
    model: str = "",
    version: int | None = None,
    timeout_s: float | None = None,
    request_id: str | None = None,
) -> Flow[Translation]:
    """Translates an image into another domain, such as a satellite photo into a map.

    Args:
        image: A PNG, JPEG or WebP file with one frame: its path, its bytes, a binary file object, or a picture from
            this client; the orientation stored in it is applied. Or a Pillow image, or a NumPy array of uint8,
            [height, width], [height, width, 3] or [height, width, 4], which are sent as they are.
        target: Domain to translate into, as in "map"; the model's manifest lists them. "" is enough for a model with
            one direction.
        cycle: Whether to translate the result back as well, and report how far that is from the image. Not every
            model supports it.
        side_by_side: Whether to return image, translation and back-translation in one row as well.
        model: Model name; "" takes the server's default.
        version: Model version; None takes the newest.
        timeout_s: Seconds for this call, retries included; None takes the client's. Large images take long.
        request_id: The call's name in the server's log; None draws one.

    Returns:
        A PNG of the image's size, with the image's own transparency, and model and digest.

    Raises:
        OSError: The file cannot be read.
        MuserveError: As `muserve.errors` lists them.
    """
    fields, request = Fields(), translation_pb2.TranslateImageRequest()
    request.image = yield Work(partial(image_bytes, fields, image))  # an array is encoded, which takes a while
    fields.fill(request, target=target, cycle=cycle, side_by_side=side_by_side, model=model, version=version)
    fields.check()
    return read_translation((yield Rpc(TRANSLATE_IMAGE, request, timeout_s=timeout_s, request_id=request_id)))
