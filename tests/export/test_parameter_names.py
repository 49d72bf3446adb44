"""The names of the networks' parameters, by which runs that were trained before are read."""

from __future__ import annotations

import hashlib

import pytest
from torch import nn

from muserve.configuration import build, read_toml
from muserve_export.families import recipe_path
from muserve_export.families.answers.config import AnswersConfig
from muserve_export.families.answers.model import Reader, Writer
from muserve_export.families.answers.networks.critic import Critic
from muserve_export.families.answers_tutorial import model as answers_tutorial
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.data import TRACKS
from muserve_export.families.music.model import make_discriminator, make_generator, make_posterior
from muserve_export.families.music.networks.layers import Shape
from muserve_export.families.music_tutorial.model import DenseDiscriminator, DenseGenerator


def digest(*networks: nn.Module) -> str:
    names = [f"{name} {tuple(value.shape)}" for network in networks for name, value in network.state_dict().items()]
    return hashlib.sha256("\n".join(names).encode()).hexdigest()[:16]


@pytest.mark.parametrize(
    ("values", "expected"),
    [({}, "3bcddbfe61e24605"), ({"architecture": "jamming", "given_share": 0.0}, "6e506ffb509c36da")],
)
def test_music(values: dict[str, object], expected: str) -> None:
    config = build(MusicConfig, read_toml(recipe_path("music", "tiny")), values)
    shape = Shape(len(TRACKS), styles=2, bars=4, steps_per_beat=4, lowest_pitch=24, pitches=84)
    networks = (make(config, shape) for make in (make_generator, make_discriminator, make_posterior))
    assert digest(*networks) == expected


def test_chords() -> None:
    config = build(MusicConfig, read_toml(recipe_path("music", "tutorial")))
    assert digest(DenseGenerator(config), DenseDiscriminator(config)) == "375427064e9904cf"


def test_answers() -> None:
    config = build(AnswersConfig, read_toml(recipe_path("answers", "tiny")))
    assert digest(*(network(config, 800) for network in (Reader, Writer, Critic))) == "17539ae8f588bd8d"


def test_the_answers_tutorial() -> None:
    assert digest(*answers_tutorial.make_networks()) == "df87fd31419e5729"
