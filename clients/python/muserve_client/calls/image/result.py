"""Images: PNG files that can be saved, shown and reproduced."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import overload

from muserve.v1 import image_pb2
from muserve_client.info import Info, read_info
from muserve_client.naming import name_files
from muserve_client.pictures import Picture

__all__ = ["Image", "Images", "read_images"]

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
    """The images of one call, in the order of their samples; or a single contact sheet, if requested."""

    files: tuple[Image, ...]
    """The images."""
    info: Info
    """Model, seed and timings."""
    sheet: Image | None = None
    """The contact sheet with all samples; None if separate images were requested."""

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
        """Writes each image as a PNG file, creating missing folders.

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


def read_images(response: image_pb2.GenerateImagesResponse, *, is_sheet: bool) -> Images:
    """Reads the response; `is_sheet` says that a contact sheet was requested."""
    files = tuple(
        Image(image.png, image.width, image.height, image.sample, tuple(image.labels)) for image in response.images
    )
    return Images(files, read_info(response.info), files[0] if is_sheet and files else None)
