"""Images: the request, and the answer as PNG files that can be saved, shown and made again."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, overload

from muserve.v1 import image_pb2
from muserve_client.answers import Info, read_info
from muserve_client.core import Method, Rpc
from muserve_client.fields import Fields
from muserve_client.naming import name_files
from muserve_client.pictures import Picture

__all__ = ["Image", "Images", "image_request", "images_rpc"]

_GENERATE_IMAGES = Method(
    "/muserve.v1.ImageService/GenerateImages",
    image_pb2.GenerateImagesRequest.SerializeToString,
    image_pb2.GenerateImagesResponse.FromString,
)
_ENDINGS = (".png",)
_DEFAULT_NAME = "{model}-{seed}-{sample}.png"
_REMEDY = "give a folder, a pattern with {sample}, or ask for one contact sheet with sheet=True"


@dataclass(frozen=True)
class Image(Picture):
    """One PNG."""

    sample: int
    """Index in the seed's series; on a contact sheet, of the first sample."""
    labels: tuple[str, ...] = ()
    """The labels shown, one a sample; empty for a model without labels."""


@dataclass(frozen=True)
class Images(Sequence[Image]):
    """The images of one answer, in the order of their samples; or a single contact sheet, if that was asked for."""

    files: tuple[Image, ...]
    """The images."""
    info: Info
    """Model, seed and timings."""
    sheet: Image | None = None
    """The contact sheet with all samples; None if separate images were asked for."""

    @overload
    def __getitem__(self, index: int) -> Image: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Image, ...]: ...

    def __getitem__(self, index: int | slice) -> Image | tuple[Image, ...]:
        return self.files[index]

    def __len__(self) -> int:
        return len(self.files)

    def __iter__(self) -> Iterator[Image]:
        return iter(self.files)

    def save(self, where: str | os.PathLike[str]) -> list[Path]:
        """Writes every image as a PNG file, and missing folders above them.

        Args:
            where: A folder; or a pattern such as "out/{label}-{sample}.png" with the fields {index} (from 0),
                {sample}, {label}, {seed}, {model} and {version}; or, for a single image, the path of its file.

        Returns:
            The paths, in the order of the images.

        Raises:
            ValueError: The pattern has an unknown field, or gives two images the same path.
            OSError: A file cannot be written.
        """
        parts = [
            {
                "index": index,
                "sample": image.sample,
                "label": "-".join(image.labels),
                "seed": self.info.seed,
                "model": self.info.model,
                "version": self.info.version,
            }
            for index, image in enumerate(self)
        ]
        paths = name_files(where, parts, endings=_ENDINGS, default=_DEFAULT_NAME, remedy=_REMEDY)
        return [image.save(path) for image, path in zip(self, paths, strict=True)]


def image_request(
    *,
    count: Any,
    labels: Any,
    seed: Any,
    first_sample: Any,
    truncation: Any,
    sheet: bool,
    model: Any,
    version: Any,
) -> image_pb2.GenerateImagesRequest:
    """Writes the arguments of `Client.images` as a request.

    Raises:
        InvalidRequestError: Names the arguments that no request can carry.
    """
    fields, request = Fields(), image_pb2.GenerateImagesRequest()
    request.model = fields.text("model", model)
    request.labels.extend(fields.texts("labels", labels))
    request.first_sample = fields.whole("first_sample", first_sample, bits=64)
    if sheet:
        request.layout = image_pb2.IMAGE_LAYOUT_CONTACT_SHEET
    if version is not None:
        request.version = fields.whole("version", version, bits=32)
    if count is not None:
        request.count = fields.whole("count", count, bits=32)
    if seed is not None:
        request.seed = fields.whole("seed", seed, bits=64)
    if truncation is not None:
        request.truncation = fields.real("truncation", truncation)
    fields.check()
    return request


def images_rpc(request: image_pb2.GenerateImagesRequest) -> Rpc[Images]:
    """Returns the call that answers a request."""
    is_sheet = request.layout == image_pb2.IMAGE_LAYOUT_CONTACT_SHEET

    def read(response: image_pb2.GenerateImagesResponse) -> Images:
        files = tuple(
            Image(image.png, image.width, image.height, image.sample, tuple(image.labels)) for image in response.images
        )
        return Images(files, read_info(response.info), files[0] if is_sheet and files else None)

    return Rpc(_GENERATE_IMAGES, request, read)
