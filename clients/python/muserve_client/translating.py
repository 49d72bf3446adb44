"""The call behind `translate`: arguments to a request, an answer to pictures."""

from __future__ import annotations

from typing import Any

from muserve.v1 import translation_pb2
from muserve_client.answers import read_info
from muserve_client.core import Method, Rpc
from muserve_client.fields import Fields
from muserve_client.image_files import image_bytes
from muserve_client.pictures import read_picture
from muserve_client.translation import Reconstruction, Translation

__all__ = ["translate_request", "translate_rpc"]

_TRANSLATE_IMAGE = Method(
    "/muserve.v1.ImageTranslationService/TranslateImage",
    translation_pb2.TranslateImageRequest.SerializeToString,
    translation_pb2.TranslateImageResponse.FromString,
)


def translate_request(
    image: Any, target: Any, *, cycle: bool, side_by_side: bool, model: Any, version: Any
) -> translation_pb2.TranslateImageRequest:
    """Writes the arguments of `Client.translate` as a request.

    Raises:
        InvalidRequestError: Names the arguments that no request can carry.
        OSError: A file cannot be read.
    """
    fields, request = Fields(), translation_pb2.TranslateImageRequest()
    request.image = image_bytes(fields, image)
    request.target = fields.text("target", target)
    request.cycle, request.side_by_side = bool(cycle), bool(side_by_side)
    request.model = fields.text("model", model)
    if version is not None:
        request.version = fields.whole("version", version, bits=32)
    fields.check()
    return request


def translate_rpc(request: translation_pb2.TranslateImageRequest) -> Rpc[Translation]:
    """Returns the call that answers a request."""
    return Rpc(_TRANSLATE_IMAGE, request, _read)


def _read(response: translation_pb2.TranslateImageResponse) -> Translation:
    size = (response.width, response.height)
    cycle = None
    if response.HasField("cycle"):
        cycle = Reconstruction(response.cycle.png, *size, response.cycle.mean_absolute_error)
    return Translation(
        response.png,
        *size,
        source=response.source,
        target=response.target,
        info=read_info(response.info),
        cycle=cycle,
        side_by_side=read_picture(response.side_by_side_png) if response.side_by_side_png else None,
    )
