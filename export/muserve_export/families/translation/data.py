"""Two folders of images, trainA and trainB, that need not pair up; and pairs to measure by, where there are any.

data/translation/
  trainA/ trainB/              to learn from
  validationA/ validationB/    to choose by, may be absent: images of one name are a pair
  testA/ testB/                to report, may be absent: images of one name are a pair
  pairedA/ pairedB/            what the paired baseline learns from; absent: trainA and trainB, by name
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.translation.classes import MapClasses
from muserve_export.families.translation.config import TranslationConfig
from muserve_export.families.translation.sources import ABOUT, PARTS, collect
from muserve_server.tasks.translation.containers import ImageError, read_header
from muserve_server.tasks.translation.decoding import decode

__all__ = ["DEFAULT", "IMAGE_SUFFIXES", "CropSet", "TranslationData", "collect", "load_data", "read_image"]

DEFAULT = Path("data/translation")
IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".webp")

Pixels = NDArray[np.uint8]


class CropSet:
    """Random crops of the images of both domains, unpaired or paired; see `training.loop.TrainingSet`."""

    def __init__(self, images: tuple[list[Pixels], list[Pixels]], config: TranslationConfig, *, paired: bool) -> None:
        """Holds the images.

        Args:
            images: Of A and of B, each [row, column, 3], no side shorter than `crop_size`.
            config: Size of crops, flips, images an epoch.
            paired: Whether images of one index belong together: then they are cropped and mirrored alike.
        """
        self._images = images
        self._config = config
        self._paired = paired

    def __len__(self) -> int:
        return self._config.images_per_epoch or max(len(images) for images in self._images)

    def batch(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Draws crops of A by index, and of B: by the same index if they pair up, or else any.

        Args:
            indices: int64 [item].

        Returns:
            A and B, float32 [item, 3, crop_size, crop_size] in [-1, 1].
        """
        first, second = self._images
        crops: tuple[list[Tensor], list[Tensor]] = ([], [])
        for index in indices.tolist():
            places = torch.rand(2, 3).tolist()  # a row and a column as shares, and whether to mirror
            other = index % len(second) if self._paired else int(torch.randint(len(second), ()))
            crops[0].append(self._crop(first[index % len(first)], places[0]))
            crops[1].append(self._crop(second[other], places[0] if self._paired else places[1]))
        return torch.stack(crops[0]), torch.stack(crops[1])

    def shown(self, count: int) -> tuple[Tensor, Tensor]:
        """Returns the middles of the first images of A and B, each [image, 3, crop_size, crop_size] in [-1, 1]."""
        middles = [
            torch.stack([self._crop(image, (0.5, 0.5, 1.0)) for image in images[:count]]) for images in self._images
        ]
        return middles[0], middles[1]

    def _crop(self, image: Pixels, place: tuple[float, float, float] | list[float]) -> Tensor:
        size = self._config.crop_size
        top, left = (int(share * (length - size + 1)) for share, length in zip(place, image.shape[:2], strict=False))
        crop = torch.from_numpy(image[top : top + size, left : left + size]).permute(2, 0, 1)
        if self._config.flip and place[2] < 0.5:
            crop = crop.flip(2)
        return crop.float() / 127.5 - 1.0


@dataclass(frozen=True)
class TranslationData:
    """A data folder."""

    folder: Path
    """Where it is."""
    config: TranslationConfig
    """How to read it."""
    source: manifest_pb2.TrainingData
    """What the manifest says of it."""

    @cached_property
    def training(self) -> CropSet:
        """What to learn from.

        Raises:
            DataError: A folder is missing, an image cannot be read, or there should be pairs and are none.
        """
        if self.config.architecture != "paired":
            return CropSet((self._read("trainA"), self._read("trainB")), self.config, paired=False)
        part = "paired" if (self.folder / "pairedA").is_dir() else "train"
        names = self.pairs(part)
        if not names:
            raise DataError(
                f"{self.folder} has no pairs to learn from; put images of the same names into pairedA and pairedB, or "
                "choose another architecture than 'paired'"
            )
        sides = [[self._load(self.path(part, side, name)) for name in names] for side in "AB"]
        for name, first, second in zip(names, *sides, strict=True):
            if first.shape != second.shape:
                raise DataError(f"{part}A and {part}B: the two images {name!r} have unlike sizes; pairs must be of one")
        return CropSet((sides[0], sides[1]), self.config, paired=True)

    @cached_property
    def classes(self) -> MapClasses | None:
        """Classes of a map's pixels, if the folder has them."""
        return MapClasses.read(self.folder)

    @cached_property
    def sha256(self) -> str:
        """Digest of all that can be learnt from or measured by: names and contents."""
        digest = hashlib.sha256()
        for part in PARTS:
            for side in "AB":
                for path in self.files(part, side).values():
                    digest.update(f"\0{part}{side}/{path.name}\0".encode())
                    digest.update(hashlib.sha256(path.read_bytes()).digest())
        return digest.hexdigest()

    def files(self, part: str, side: str) -> Mapping[str, Path]:
        """Lists the images of a folder by name without suffix, in order; none if there is no such folder.

        Args:
            part: train, validation, test, paired or large.
            side: A or B.

        Raises:
            DataError: Two of a folder have the same name.
        """
        return self._files[f"{part}{side}"]

    @cached_property
    def _files(self) -> Mapping[str, Mapping[str, Path]]:
        return {f"{part}{side}": _list_images(self.folder / f"{part}{side}") for part in PARTS for side in "AB"}

    def pairs(self, part: str) -> list[str]:
        """Names that both sides of a part have, in order."""
        first, second = (self.files(part, side) for side in "AB")
        return [name for name in first if name in second]

    def path(self, part: str, side: str, name: str) -> Path:
        """The file of one image."""
        return self.files(part, side)[name]

    def _read(self, name: str) -> list[Pixels]:
        part, side = name[:-1], name[-1]
        found = self.files(part, side)
        if not found:
            raise DataError(
                f"{self.folder / name} has no images; put those of one domain into trainA and those of the other into "
                f"trainB; allowed: {', '.join(IMAGE_SUFFIXES)}"
            )
        return [self._load(path) for path in found.values()]

    def _load(self, path: Path) -> Pixels:
        """Reads an image at `load_size`, or larger where a crop would not fit."""
        image = Image.fromarray(read_image(path))
        shorter = min(image.size)
        wanted = max(self.config.load_size or shorter, self.config.crop_size)
        if wanted != shorter:
            sides = [max(wanted, round(side * wanted / shorter)) for side in image.size]
            image = image.resize((sides[0], sides[1]), Image.Resampling.BICUBIC)
        return np.array(image, dtype=np.uint8)  # a copy, since torch wants to be able to write


def load_data(config: TranslationConfig) -> TranslationData:
    """Finds the data that a configuration names; images are read when they are wanted.

    Raises:
        DataError: It is missing or unreadable.
    """
    folder = Path(config.data) if config.data else DEFAULT
    if not folder.is_dir():
        hint = "" if config.data else "; make it first: muserve-export data translation"
        raise DataError(f"data is {str(folder)!r}, which is no folder{hint}; it must hold trainA and trainB")
    return TranslationData(folder, config, _describe(folder))


def read_image(path: Path) -> Pixels:
    """Reads an image upright, as 8-bit RGB: [row, column, 3]. What is transparent becomes white, as on paper.

    Raises:
        DataError: It cannot be read; names the file.
    """
    try:
        picture = decode(read_header(path.read_bytes()))  # as the server reads what it is sent
    except (OSError, ImageError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); repair or remove it") from error
    if picture.alpha is None:
        return picture.rgb
    share = picture.alpha[..., None] / 255
    return np.asarray(picture.rgb * share + 255 * (1 - share) + 0.5, np.uint8)


def _list_images(folder: Path) -> Mapping[str, Path]:
    """Lists the images of a folder and those below it by name without suffix, in order; none without the folder."""
    found: dict[str, Path] = {}
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() not in IMAGE_SUFFIXES or path.name.startswith(".") or not path.is_file():
            continue
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise DataError(f"{path} and {found[name].name} have the same name without their endings; rename one")
        found[name] = path
    return dict(sorted(found.items()))


def _describe(folder: Path) -> manifest_pb2.TrainingData:
    about = folder / ABOUT
    if not about.exists():
        counts = {name: len(_list_images(folder / name)) for name in ("trainA", "trainB", "testA", "testB")}
        return manifest_pb2.TrainingData(
            name="images of two domains",
            origin=f"the user's folder {folder.resolve().name}",
            licence="as the user has them",
            split=", ".join(f"{count:,} in {name}" for name, count in counts.items()),
        )
    try:
        return manifest_pb2.TrainingData(**json.loads(about.read_text(encoding="utf-8")))
    except (OSError, ValueError, TypeError) as error:
        raise DataError(f"{about}: cannot be read ({error}); make the data again") from error
