"""The networks of each architecture, and the sizes that a data set gives them.

`hybrid` has tracks that hear each other (`networks.generator`, `networks.discriminators`), `jamming` a network for each
track (`networks.jamming`). The dense networks of tutorials are a package of their own, `families.music_tutorial`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import MappingProxyType

from torch import nn

from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.data import DRUMS, TRACKS, MusicData
from muserve_export.families.music.networks.discriminators import Discriminator
from muserve_export.families.music.networks.generator import Generator, Posterior
from muserve_export.families.music.networks.jamming import Jamming, JammingDiscriminator, JammingPosterior
from muserve_export.families.music.networks.keys import Keys
from muserve_export.families.music.networks.layers import Shape

__all__ = [
    "latent_sizes",
    "make_discriminator",
    "make_generator",
    "make_keys",
    "make_posterior",
    "make_shape",
    "summary_of",
]


@dataclass(frozen=True)
class _Architecture:
    """What differs between architectures."""

    summary: str
    """For the manifest's description."""
    generator: Callable[[MusicConfig, Shape], Generator | Jamming]
    discriminator: Callable[..., nn.Module]
    posterior: Callable[[MusicConfig, Shape], nn.Module]
    shares: bool
    """Whether tracks share latents and a key, beside latents of their own."""


_ARCHITECTURES: Mapping[str, _Architecture] = MappingProxyType(
    {
        "hybrid": _Architecture("tracks that hear each other", Generator, Discriminator, Posterior, shares=True),
        "jamming": _Architecture(
            "tracks that do not hear each other", Jamming, JammingDiscriminator, JammingPosterior, shares=False
        ),
    }
)


def summary_of(config: MusicConfig) -> str:
    """Returns what distinguishes an architecture, for people."""
    return _ARCHITECTURES[config.architecture].summary


def make_generator(config: MusicConfig, shape: Shape) -> Generator | Jamming:
    """Builds the generator of a configuration, with fresh weights."""
    return _ARCHITECTURES[config.architecture].generator(config, shape)


def make_discriminator(config: MusicConfig, shape: Shape) -> nn.Module:
    """Builds the discriminator of a configuration, with fresh weights."""
    return _ARCHITECTURES[config.architecture].discriminator(config, shape, normed=config.loss == "hinge")


def make_posterior(config: MusicConfig, shape: Shape) -> nn.Module:
    """Builds the posterior of a configuration, with fresh weights."""
    return _ARCHITECTURES[config.architecture].posterior(config, shape)


def latent_sizes(config: MusicConfig, shape: Shape) -> tuple[int, int]:
    """Returns the latent size of a piece and that of a bar: of the shared latents, if any, and of each track's own."""
    kinds = 1 + shape.tracks if _ARCHITECTURES[config.architecture].shares else 2 * shape.tracks
    return kinds * config.constant_latent_size, kinds * config.bar_latent_size


def make_shape(config: MusicConfig, data: MusicData) -> Shape:
    """Returns the sizes of networks for a data set."""
    return Shape(
        tracks=len(TRACKS),
        styles=len(data.styles),
        bars=config.bars,
        steps_per_beat=config.steps_per_beat,
        lowest_pitch=config.lowest_pitch,
        pitches=config.pitches,
    )


def make_keys(config: MusicConfig, shape: Shape) -> Keys:
    """Builds the module that finds and transposes keys: one key for all tracks, or one each if they share nothing."""
    return Keys(shape, drums=DRUMS, together=_ARCHITECTURES[config.architecture].shares)
