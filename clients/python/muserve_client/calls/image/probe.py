"""How models of images are verified."""

from __future__ import annotations

from muserve.v1 import image_pb2, manifest_pb2
from muserve_client.calls.image.flow import GENERATE_IMAGES
from muserve_client.calls.probes import (
    MAX_OTHER_ITEMS,
    OTHER_SEEDS,
    SEED,
    Answer,
    Probe,
    answer_of,
    copy_of,
    one_sample,
)

__all__ = ["PROBES"]

_DEFAULT_IMAGES = 4


def _read(response: image_pb2.GenerateImagesResponse) -> Answer:
    return answer_of(response, {f"sample {image.sample}": image.png for image in response.images})


def _default_images(_manifest: manifest_pb2.ModelManifest) -> image_pb2.GenerateImagesRequest:
    return image_pb2.GenerateImagesRequest(count=_DEFAULT_IMAGES, seed=SEED)


def _other_images(request: image_pb2.GenerateImagesRequest, index: int) -> image_pb2.GenerateImagesRequest:
    return image_pb2.GenerateImagesRequest(
        model=request.model, version=request.version, count=1 + index % MAX_OTHER_ITEMS, seed=OTHER_SEEDS + index
    )


def _separate_images(request: image_pb2.GenerateImagesRequest) -> image_pb2.GenerateImagesRequest:
    apart = copy_of(request)
    apart.layout = image_pb2.IMAGE_LAYOUT_SEPARATE
    return apart


def _one_image(request: image_pb2.GenerateImagesRequest, index: int) -> image_pb2.GenerateImagesRequest:
    one: image_pb2.GenerateImagesRequest = one_sample(request, index)
    if len(request.labels) > 1:
        one.labels[:] = [request.labels[index]]
    return one


PROBES = (
    Probe(
        task="image",
        request=image_pb2.GenerateImagesRequest,
        method=GENERATE_IMAGES,
        nouns=("images", "samples", "bytes"),
        read=_read,
        default=_default_images,
        other=_other_images,
        alone=_one_image,
        apart=_separate_images,
    ),
)
