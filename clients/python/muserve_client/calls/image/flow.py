"""The call that generates images."""

from __future__ import annotations

from collections.abc import Sequence

from muserve.v1 import image_pb2
from muserve_client.calls.image.result import Images, read_images
from muserve_client.fields import Fields
from muserve_client.flows import Flow, Rpc, method_of

__all__ = ["GENERATE_IMAGES", "images"]

GENERATE_IMAGES = method_of(image_pb2.DESCRIPTOR.services_by_name["ImageService"], "GenerateImages")


def images(
    count: int | None = None,
    *,
    labels: str | Sequence[str] = (),
    seed: int | None = None,
    first_sample: int = 0,
    truncation: float | None = None,
    sheet: bool = False,
    model: str = "",
    version: int | None = None,
    timeout_s: float | None = None,
    request_id: str | None = None,
) -> Flow[Images]:
    """Generates images.

    Args:
        count: How many; None takes one per label, or 1.
        labels: What to show: one label for all images, or one per image. Without any, a model with labels draws them.
        seed: From 0 to 2^64 - 1; None lets the server draw one, which the result reports.
        first_sample: Index of the first sample in the seed's endless series: first_sample=7, count=1 gives sample 7
            of a set again.
        truncation: Above 0 and at most 1: lower values give more typical, less varied images. Not every model
            supports it.
        sheet: Whether to return one contact sheet instead of separate images.
        model: Model name; "" takes the server's default.
        version: Model version; None takes the newest.
        timeout_s: Seconds for this call, retries included; None takes the client's.
        request_id: The call's name in the server's log; None draws one.

    Returns:
        The images with model, digest and seed.

    Raises:
        MuserveError: As `muserve.errors` lists them.
    """
    fields, request = Fields(), image_pb2.GenerateImagesRequest()
    fields.fill(
        request,
        model=model,
        labels=labels,
        first_sample=first_sample,
        version=version,
        count=count,
        seed=seed,
        truncation=truncation,
    )
    fields.check()
    if sheet:
        request.layout = image_pb2.IMAGE_LAYOUT_CONTACT_SHEET
    return read_images(
        (yield Rpc(GENERATE_IMAGES, request, timeout_s=timeout_s, request_id=request_id)), is_sheet=sheet
    )
