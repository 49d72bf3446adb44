"""The digits family: its data readers, the published set-up, one step of every recipe, the figures."""

from __future__ import annotations

import gzip
import struct
from pathlib import Path

import numpy as np
import pytest
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from PIL import Image

from muserve.configuration import build, read_toml
from muserve_export.errors import DataError
from muserve_export.families import recipe_names, recipe_path
from muserve_export.families.digits.config import DigitsConfig
from muserve_export.families.digits.data import ImageSet, load_data
from muserve_export.families.digits.evaluate import _frechet, _nearest
from muserve_export.families.digits.model import make_networks
from muserve_export.families.digits.train import DigitsLearner


def write_idx(path: Path, values: NDArray[np.uint8], *, compress: bool = False) -> None:
    content = struct.pack(f">HBB{values.ndim}I", 0, 8, values.ndim, *values.shape) + values.tobytes()
    path.write_bytes(gzip.compress(content) if compress else content)


@pytest.fixture
def idx_folder(tmp_path: Path) -> Path:
    random = np.random.default_rng(0)
    for part, count in (("train", 60), ("t10k", 20)):
        write_idx(tmp_path / f"{part}-images-idx3-ubyte", random.integers(0, 256, (count, 28, 28), np.uint8))
        labels = np.arange(count, dtype=np.uint8) % 10
        write_idx(tmp_path / f"{part}-labels-idx1-ubyte.gz", labels, compress=True)
    return tmp_path


def test_mlxtends_digits_are_split_as_documented_and_share_no_image() -> None:
    data = load_data(DigitsConfig())
    assert [len(part) for part in (data.training, data.validation, data.test)] == [3500, 500, 1000]
    assert np.bincount(data.test.labels).tolist() == [100] * 10
    digests = [{image.tobytes() for image in part.images} for part in (data.training, data.validation, data.test)]
    assert not digests[0] & digests[1]
    assert not digests[0] & digests[2]
    assert not digests[1] & digests[2]
    again = load_data(DigitsConfig())
    assert np.array_equal(again.test.images, data.test.images)
    images, labels = data.training.batch(torch.tensor([0, 3499]))
    assert images.shape == (2, 1, 28, 28)
    assert (images.min().item(), images.max().item()) == (-1.0, 1.0)
    assert labels.tolist() == [0, 9]


def test_mnists_own_files_are_read_plain_and_gzipped(idx_folder: Path) -> None:
    data = load_data(build(DigitsConfig, {"data": str(idx_folder)}))
    assert [len(part) for part in (data.training, data.validation, data.test)] == [50, 10, 20]
    assert data.labels == tuple("0123456789")


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("train-images-idx3-ubyte", b"", "cannot be read as an IDX file"),
        ("train-images-idx3-ubyte", struct.pack(">HBB3I", 0, 8, 3, 60, 28, 28) + b"short", "cut short"),
        ("train-images-idx3-ubyte", struct.pack(">HBB3I", 0, 13, 3, 0, 28, 28), "not an IDX file"),
        ("train-labels-idx1-ubyte", struct.pack(">HBB1I", 0, 8, 1, 3) + b"\0\1\2", "60 images and 3 labels"),
        ("t10k-labels-idx1-ubyte.gz", b"no gzip", "cannot be read as an IDX file"),
    ],
)
def test_broken_idx_files_are_named(idx_folder: Path, name: str, content: bytes, message: str) -> None:
    (idx_folder / name).write_bytes(content)
    with pytest.raises(DataError, match=message):
        load_data(build(DigitsConfig, {"data": str(idx_folder)}))


def test_a_missing_idx_file_is_named(idx_folder: Path) -> None:
    (idx_folder / "t10k-images-idx3-ubyte").unlink()
    with pytest.raises(DataError, match="no t10k-images-idx3-ubyte"):
        load_data(build(DigitsConfig, {"data": str(idx_folder)}))


@pytest.mark.parametrize("channels", [1, 3])
def test_a_folder_of_classes_is_read(image_tree: Path, channels: int) -> None:
    data = load_data(build(DigitsConfig, {"data": str(image_tree), "image_size": 16, "channels": channels}))
    assert data.labels == ("circle", "square")
    assert [len(part) for part in (data.training, data.validation, data.test)] == [28, 4, 8]
    assert data.training.images.shape[1:] == (channels, 16, 16)
    assert data.training.images.max() > 200


def test_a_wide_image_is_padded_and_not_squeezed(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    Image.fromarray(np.full((10, 40), 255, np.uint8)).save(tmp_path / "one" / "wide.png")
    data = load_data(build(DigitsConfig, {"data": str(tmp_path), "image_size": 16}))
    picture = data.training.images[0, 0]
    assert picture[8].min() == 255
    assert picture[0].max() == picture[-1].max() == 0


def test_transparent_and_16_bit_images_keep_their_drawing(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    drawing = np.zeros((16, 16, 4), np.uint8)  # black, transparent
    drawing[4:12, 4:12, 3] = 255
    Image.fromarray(drawing).save(tmp_path / "one" / "a.png")
    deep = np.full((16, 16), 65535, np.uint16)
    deep[:8] = 32896
    Image.fromarray(deep).save(tmp_path / "one" / "b.png")
    data = load_data(build(DigitsConfig, {"data": str(tmp_path), "image_size": 16}))
    transparent, grey = data.training.images[:, 0]
    assert (transparent[8, 8], transparent[0, 0]) == (0, 255)
    assert (grey[0, 0], grey[15, 15]) == (128, 255)


def test_a_broken_image_is_named(tmp_path: Path) -> None:
    (tmp_path / "one").mkdir()
    (tmp_path / "one" / "broken.png").write_bytes(b"\x89PNG no more")
    with pytest.raises(DataError, match=r"broken\.png: cannot be read as an image"):
        load_data(build(DigitsConfig, {"data": str(tmp_path)}))


def test_a_class_without_images_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"empty has no images; allowed: \.png"):
        load_data(build(DigitsConfig, {"data": str(tmp_path)}))


def test_a_folder_without_classes_is_explained(tmp_path: Path) -> None:
    Image.new("L", (8, 8)).save(tmp_path / "lonely.png")
    with pytest.raises(DataError, match="has no folders; put the images of each class into a folder"):
        load_data(build(DigitsConfig, {"data": str(tmp_path)}))


def test_the_tutorial_is_the_published_set_up() -> None:
    config = build(DigitsConfig, read_toml(recipe_path("digits", "tutorial")))
    generator, discriminator = make_networks(config, classes=10)
    assert [tuple(weight.shape) for weight in generator.parameters() if weight.ndim == 2] == [
        (256, 100), (512, 256), (1024, 512), (784, 1024),
    ]  # fmt: skip
    assert [tuple(weight.shape) for weight in discriminator.parameters() if weight.ndim == 2] == [
        (512, 784), (256, 512), (1, 256),
    ]  # fmt: skip
    kinds = [type(layer).__name__ for layer in generator.get_submodule("layers").children()]
    assert kinds == ["Linear", "ReLU"] * 3 + ["Linear", "Tanh"]
    kinds = [type(layer).__name__ for layer in discriminator.get_submodule("layers").children()]
    assert kinds == ["Linear", "LeakyReLU"] * 2 + ["Linear"]
    assert discriminator.get_submodule("layers.1").negative_slope == 0.2
    assert (config.learning_rate, config.beta1, config.beta2) == (2e-4, 0.5, 0.999)
    assert (config.batch_size, config.epochs, config.sheet_every_epochs) == (64, 50, 10)


@pytest.mark.parametrize("recipe", recipe_names("digits"))
def test_every_recipe_takes_a_real_step(recipe: str) -> None:
    config = build(DigitsConfig, read_toml(recipe_path("digits", recipe)), {"device": "cpu"})
    learner = DigitsLearner(Fabric(accelerator="cpu", devices=1), config, classes=10)
    before = {
        f"{name}.{key}": value.clone()
        for name, module in learner.modules().items()
        for key, value in module.named_parameters()
    }
    shape = (config.batch_size, config.channels, config.image_size, config.image_size)
    losses = learner.step((torch.rand(shape) * 2 - 1, torch.arange(config.batch_size) % 10), 1, 100)
    assert all(np.isfinite(loss.item()) for loss in losses.values())
    for name, module in learner.modules().items():
        for key, value in module.named_parameters():
            assert not torch.equal(before[f"{name}.{key}"], value), f"{name}.{key} did not learn"


def test_the_frechet_distance_of_known_distributions() -> None:
    random = np.random.default_rng(0)
    features = random.standard_normal((20_000, 4))
    assert _frechet(features, features) == pytest.approx(0, abs=1e-6)
    # Equal covariances: the squared distance of the means.
    assert _frechet(features, features + np.array([3, 0, 0, 4])) == pytest.approx(25, abs=1e-6)
    # Scaled by 2: the sum over dimensions of (2 - 1)^2.
    assert _frechet(features, 2 * features) == pytest.approx(4, rel=0.05)


def test_the_nearest_training_image() -> None:
    training = ImageSet(np.array([[[[0, 0]]], [[[255, 255]]]], np.uint8), np.zeros(2, np.int64))
    images = ImageSet(np.array([[[[0, 0]]], [[[255, 0]]], [[[204, 255]]]], np.uint8), np.zeros(3, np.int64))
    assert _nearest(images, training) == pytest.approx([0.0, 1.0, 0.2], abs=1e-3)
