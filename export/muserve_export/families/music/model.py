"""The music networks of a configuration.

`generator` and `discriminators` have those whose tracks hear each other, `jamming` the baseline's, `chords` the
tutorial's; `layers` has what they are built of.
"""

from __future__ import annotations

from torch import nn

from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.networks.discriminators import Discriminator
from muserve_export.families.music.networks.generator import Generator, Posterior
from muserve_export.families.music.networks.jamming import (
    Jamming,
    JammingDiscriminator,
    JammingPosterior,
)
from muserve_export.families.music.networks.layers import Shape

__all__ = [
    "latent_sizes",
    "make_discriminator",
    "make_generator",
    "make_posterior",
]


def make_generator(config: MusicConfig, shape: Shape) -> Generator | Jamming:
    """Builds the generator of a configuration, with fresh weights."""
    return Jamming(config, shape) if config.architecture == "jamming" else Generator(config, shape)


def make_discriminator(config: MusicConfig, shape: Shape) -> nn.Module:
    """Builds the discriminator of a configuration, with fresh weights."""
    normed = config.loss == "hinge"
    if config.architecture == "jamming":
        return JammingDiscriminator(config, shape, normed=normed)
    return Discriminator(config, shape, normed=normed)


def make_posterior(config: MusicConfig, shape: Shape) -> nn.Module:
    """Builds the posterior of a configuration, with fresh weights."""
    return JammingPosterior(config, shape) if config.architecture == "jamming" else Posterior(config, shape)


def latent_sizes(config: MusicConfig, shape: Shape) -> tuple[int, int]:
    """Returns how much noise a piece keeps and how much each bar has of its own."""
    kinds = 2 * shape.tracks if config.architecture == "jamming" else 1 + shape.tracks
    return kinds * config.constant_latent_size, kinds * config.bar_latent_size
