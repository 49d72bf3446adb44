"""What can be set on a music run."""

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
        f"folder with a folder of MIDI files a style; empty takes {COLLECTED}, which `muserve-export data music` makes",
    )
    split_seed: int = option(
        0, "seed of the split into training, validation and test part", minimum=0, maximum=2**53 - 1
    )
    bars: int = option(4, "bars that the networks see at once", unit="bars", minimum=1, maximum=16)
    steps_per_beat: int = option(4, "steps of a quarter note", minimum=1, maximum=12)
    lowest_pitch: int = option(24, "MIDI number of the lowest pitch; others are moved by octaves", maximum=115)
    pitches: int = option(84, "number of pitches", minimum=12, maximum=128)
    min_tracks: int = option(1, "fewest tracks that must sound in a segment", minimum=1, maximum=5)
    chords: int = option(20_000, "chords that the dense networks learn from", minimum=1)

    architecture: str = option(
        "hybrid",
        "tracks that share latents and a trunk, a network a track by itself, or the tutorial's dense networks",
        choices=("hybrid", "jamming", "dense"),
    )
    constant_latent_size: int = option(
        32, "noise that a piece keeps; as much again for each track of its own", minimum=1, maximum=4096
    )
    bar_latent_size: int = option(
        16, "noise of each bar; as much again for each track of its own", minimum=1, maximum=4096
    )
    bar_width: int = option(256, "features of a bar in the generator", minimum=4)
    beat_width: int = option(192, "features of a beat in the generator", minimum=4)
    step_width: int = option(160, "features of a step in the generator", minimum=4)
    track_width: int = option(80, "features of a step in a track's own head", minimum=4)
    discriminator_width: int = option(192, "features of a step in the discriminator", minimum=4)
    generator_widths: tuple[int, ...] = option((256, 512, 1024), "hidden layers of a dense generator", minimum=1)
    discriminator_widths: tuple[int, ...] = option(
        (1024, 512, 256), "hidden layers of a dense discriminator", minimum=1
    )

    loss: str = option(
        "hinge",
        "hinge with spectral norm, Wasserstein with gradient penalty, or binary cross-entropy",
        choices=("hinge", "wasserstein", "cross_entropy"),
    )
    discriminator_steps: int = option(
        1, "steps of the discriminator for one of the generator, where nothing is reconstructed", minimum=1
    )
    gradient_penalty: float = option(10.0, "weight of the Wasserstein loss's gradient penalty", minimum=0)
    adversarial_weight: float = option(
        1.0, "weight of the discriminator after reconstruction, beside how likely what is imagined is", minimum=0
    )
    divergence_weight: float = option(
        0.2, "weight of how much more the posterior tells than what is imagined, at the beginning", minimum=0
    )
    final_divergence_weight: float = option(1.0, "that weight at the end of the reconstruction part", minimum=0)
    reconstruction_share: float = option(
        0.0,
        "first part of the run, which reconstructs real segments; what follows teaches the temporal generator alone",
        minimum=0,
        maximum=1,
    )
    reconstruction_batch_size: int = option(
        16, "rows of a batch that one step of reconstruction takes: smaller steps, but more", minimum=1
    )
    mismatch_weight: float = option(
        0.0, "weight of real tracks of different pieces, put together, among the discriminator's false ones", minimum=0
    )
    given_share: float = option(
        0.5, "share of a batch that accompanies given tracks; 0 trains no accompanist", minimum=0, maximum=1
    )
    unknown_share: float = option(0.5, "share of a batch whose density is left open", minimum=0, maximum=1)
    learning_rate: float = option(2e-4, "Adam's, of generator and posterior", minimum=0)
    temporal_learning_rate: float = option(2e-4, "Adam's, of the temporal generator after reconstruction", minimum=0)
    discriminator_learning_rate: float = option(2e-4, "Adam's, of the discriminator", minimum=0)
    final_learning_rate_share: float = option(
        1.0, "learning rates fall to this share, linearly in each part of the run", minimum=0, maximum=1
    )
    beta1: float = option(0.5, "Adam's, of generator and posterior, and of dense networks", minimum=0, maximum=0.9999)
    adversarial_beta1: float = option(
        0.5,
        "Adam's, of the temporal generator after reconstruction, and of the discriminator",
        minimum=0,
        maximum=0.9999,
    )
    beta2: float = option(0.999, "Adam's", minimum=0, maximum=0.999999)
    ema_decay: float = option(
        0.0, "decay of the averaged weights that are exported; 0 exports the last step's", minimum=0, maximum=1
    )

    def __post_init__(self) -> None:
        """Checks what no single field's bounds show.

        Raises:
            ConfigurationError: Values contradict each other.
        """
        if self.lowest_pitch + self.pitches > 128:
            raise ConfigurationError(
                f"lowest_pitch {self.lowest_pitch} and {self.pitches} pitches end above 127, MIDI's highest pitch"
            )
        if self.architecture != "hybrid" and self.given_share:
            raise ConfigurationError(
                f"given_share is {self.given_share:g}; architecture {self.architecture!r} cannot accompany: set it to 0"
            )

    @property
    def epochs_may_change(self) -> bool:
        """Rates and weights move over the whole run."""
        return self.final_learning_rate_share == 1.0 and self.reconstruction_share == 0.0

    @property
    def teaches_parts(self) -> bool:
        """After reconstruction only the temporal generator learns."""
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
