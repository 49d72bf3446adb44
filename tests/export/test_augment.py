"""Augmentation and averaged weights."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from muserve_export.training.augment import cutout, translate
from muserve_export.training.ema import MovingAverage


def test_translation_moves_whole_images_within_its_share() -> None:
    torch.manual_seed(0)
    images = torch.full((64, 2, 16, 16), -1.0)
    images[:, :, 8, 8] = 1.0
    moved = translate(images, 0.25, ground=-1.0)
    assert moved.shape == images.shape
    assert torch.equal((moved == 1.0).sum(dim=(2, 3)), torch.ones(64, 2, dtype=torch.int64))
    places = {tuple(place) for place in (moved[:, 0] == 1.0).nonzero()[:, 1:].tolist()}
    rows, columns = ({place[axis] for place in places} for axis in (0, 1))
    assert rows | columns <= set(range(4, 13))
    assert min(rows) == min(columns) == 4
    assert max(rows) == max(columns) == 12
    assert torch.equal(moved[:, 0], moved[:, 1]), "channels move together"


def test_what_moves_in_is_ground() -> None:
    moved = translate(torch.ones(16, 1, 8, 8), 0.5, ground=-1.0)
    assert set(moved.unique().tolist()) == {-1.0, 1.0}


def test_cutout_blanks_a_square() -> None:
    torch.manual_seed(0)
    blanked = cutout(torch.ones(256, 1, 16, 16), 0.25, ground=-1.0)
    missing = (blanked == -1.0).sum(dim=(1, 2, 3))
    assert missing.max() == 16
    assert missing.min() >= 4  # in a corner a quarter of the square is left


@pytest.mark.parametrize("change", [translate, cutout])
def test_gradients_go_through(change: object) -> None:
    images = torch.zeros(4, 1, 8, 8, requires_grad=True)
    change(images, 0.25, ground=-1.0).sum().backward()  # type: ignore[operator]
    assert images.grad is not None
    assert 0 < images.grad.sum() < images.numel()


def test_the_average_follows_weights_and_buffers() -> None:
    network = nn.Sequential(nn.Linear(1, 1, bias=False), nn.BatchNorm1d(1))
    average = MovingAverage(network, 0.9)
    with torch.no_grad():
        for module, value in ((network, 1.0), (average.module, 0.0)):
            module.get_parameter("0.weight").fill_(value)
            module.get_buffer("1.running_mean").fill_(value)
    average.update(network, step=10_000)
    assert average.module.get_parameter("0.weight").item() == pytest.approx(0.1)
    assert average.module.get_buffer("1.running_mean").item() == pytest.approx(0.1)
    assert not average.module.training
    assert not any(parameter.requires_grad for parameter in average.module.parameters())


def test_the_first_weights_fade_quickly() -> None:
    network = nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        network.weight.fill_(100.0)
    average = MovingAverage(network, 0.999)
    with torch.no_grad():
        network.weight.fill_(1.0)
    for step in range(1, 101):
        average.update(network, step)
    assert average.module.get_parameter("weight").item() == pytest.approx(1.0, abs=0.01)
