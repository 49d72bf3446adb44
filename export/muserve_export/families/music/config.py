"""Settings of a music run."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

from muserve.configuration import ConfigurationError, build, option
from muserve.v1 import manifest_pb2
from muserve_export.training.config import TrainingConfig

__all__ = ["COLLECTED", "MusicConfig"]

COLLECTED = "data/music"
"""Where `muserve-export data music` puts the bundled data."""


@dataclass(frozen=True)
class MusicConfig(TrainingConfig):
    """Settings of the music family."""

    data: str = option(
        "",
        f"folder with one folder of MIDI files per style; empty uses {COLLECTED}, made by `muserve-export data music`",
    )
    split_seed: int = option(
        0, "seed of the split into training, validation and test parts", minimum=0, maximum=2**53 - 1
    )
    bars: int = option(4, "length of a phrase, which the networks see at once", unit="bars", minimum=1, maximum=16)
    steps_per_beat: int = option(4, "time steps per quarter note", minimum=1, maximum=12)
    lowest_pitch: int = option(
        24, "MIDI number of the lowest pitch; notes out of range are transposed by octaves", maximum=115
    )
    pitches: int = option(84, "number of pitches", minimum=12, maximum=128)
    min_tracks: int = option(1, "minimum number of tracks that sound in a training segment", minimum=1, maximum=5)
    chords: int = option(20_000, "number of chords to train the dense networks on", minimum=1)

    architecture: str = option(
        "hybrid",
        "hybrid: tracks share latents and a trunk; jamming: a network per track; dense: the tutorial's networks",
        choices=("hybrid", "jamming", "dense"),
    )
    constant_latent_size: int = option(
        32, "latent size of a piece: shared, and again per track", minimum=1, maximum=4096
    )
    bar_latent_size: int = option(16, "latent size of a bar: shared, and again per track", minimum=1, maximum=4096)
    bar_width: int = option(256, "channels of the generator at bar resolution", minimum=4)
    beat_width: int = option(192, "channels of the generator at beat resolution", minimum=4)
    step_width: int = option(160, "channels of the generator at step resolution", minimum=4)
    track_width: int = option(80, "channels of each track's head at step resolution", minimum=4)
    discriminator_width: int = option(192, "channels of the discriminator at step resolution", minimum=4)
    generator_widths: tuple[int, ...] = option((256, 512, 1024), "hidden layer sizes of the dense generator", minimum=1)
    discriminator_widths: tuple[int, ...] = option(
        (1024, 512, 256), "hidden layer sizes of the dense discriminator", minimum=1
    )

    loss: str = option(
        "hinge",
        "hinge with spectral norm, Wasserstein with gradient penalty, or binary cross-entropy",
        choices=("hinge", "wasserstein", "cross_entropy"),
    )
    discriminator_steps: int = option(
        1, "discriminator steps per generator step, in runs without reconstruction", minimum=1
    )
    gradient_penalty: float = option(10.0, "weight of the gradient penalty of the Wasserstein loss", minimum=0)
    adversarial_weight: float = option(
        1.0, "weight of the adversarial loss after reconstruction, relative to the KL divergence", minimum=0
    )
    divergence_weight: float = option(
        0.2, "initial weight of the KL divergence of the posterior from the temporal generator's prior", minimum=0
    )
    final_divergence_weight: float = option(
        1.0, "final weight of the KL divergence, at the end of the reconstruction part", minimum=0
    )
    reconstruction_share: float = option(
        0.0,
        "fraction of the run that reconstructs real segments; the rest trains the temporal generator alone",
        minimum=0,
        maximum=1,
    )
    reconstruction_batch_size: int = option(
        16, "batch size of reconstruction steps: each batch is split into such", minimum=1
    )
    mismatch_weight: float = option(
        0.0, "weight of mismatched tracks (real ones of different pieces) as negatives of the discriminator", minimum=0
    )
    given_share: float = option(
        0.5, "fraction of a batch that accompanies given tracks; 0 trains no accompanist", minimum=0, maximum=1
    )
    unknown_share: float = option(0.5, "fraction of a batch with unspecified density", minimum=0, maximum=1)
    learning_rate: float = option(2e-4, "learning rate of generator and posterior (Adam)", minimum=0)
    temporal_learning_rate: float = option(
        2e-4, "learning rate of the temporal generator after reconstruction (Adam)", minimum=0
    )
    discriminator_learning_rate: float = option(2e-4, "learning rate of the discriminator (Adam)", minimum=0)
    final_learning_rate_share: float = option(
        1.0,
        "final learning rates as a fraction of the initial ones; linear decay in each part of the run",
        minimum=0,
        maximum=1,
    )
    beta1: float = option(
        0.5, "Adam's beta1 of generator and posterior, and of the dense networks", minimum=0, maximum=0.9999
    )
    adversarial_beta1: float = option(
        0.5,
        "Adam's beta1 of the temporal generator after reconstruction, and of the discriminator",
        minimum=0,
        maximum=0.9999,
    )
    beta2: float = option(0.999, "Adam's beta2", minimum=0, maximum=0.999999)
    ema_decay: float = option(
        0.0,
        "decay of the exponential moving average of the weights, which is exported; 0 exports the last step's weights",
        minimum=0,
        maximum=1,
    )

    def __post_init__(self) -> None:
        """Checks settings that depend on each other.

        Raises:
            ConfigurationError: They contradict each other.
        """
        if self.lowest_pitch + self.pitches > 128:
            raise ConfigurationError(
                f"lowest_pitch {self.lowest_pitch} with {self.pitches} pitches exceeds 127, MIDI's highest pitch"
            )
        if self.architecture != "hybrid" and self.given_share:
            raise ConfigurationError(
                f"given_share is {self.given_share:g}; architecture {self.architecture!r} cannot accompany: set it to 0"
            )

    @property
    def epochs_may_change(self) -> bool:
        """Whether no schedule spans the whole run."""
        return self.final_learning_rate_share == 1.0 and self.reconstruction_share == 0.0

    @property
    def teaches_parts(self) -> bool:
        """Whether only the temporal generator is trained after reconstruction."""
        return self.reconstruction_share > 0

    @classmethod
    def of_bundle(cls, manifest: manifest_pb2.ModelManifest, data: str) -> Self:
        """Returns the settings that choose and cut the data as the bundle's were: on the grid that it writes.

        Args:
            manifest: The bundle's.
            data: The data to measure against.
        """
        if manifest.training.get("architecture") == "dense":
            return super().of_bundle(manifest, data)
        training, settings = manifest.training, manifest.music
        grid = {"data": data, "bars": settings.bars}
        if settings.steps_per_bar >= settings.beats_per_bar:
            grid |= {
                "steps_per_beat": settings.steps_per_bar // settings.beats_per_bar,
                "lowest_pitch": settings.lowest_pitch,
                "pitches": settings.pitches,
            }
        return build(cls, grid, {name: training[name] for name in ("split_seed", "min_tracks") if name in training})
