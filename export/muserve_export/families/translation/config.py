"""What can be set on a translation run."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.configuration import ConfigurationError, option
from muserve_export.training.config import TrainingConfig

__all__ = ["DOWNSAMPLING", "TranslationConfig"]

DOWNSAMPLING = 4
"""Generators halve an image twice, so sizes that they see are multiples of this."""


@dataclass(frozen=True)
class TranslationConfig(TrainingConfig):
    """Settings of the translation family."""

    data: str = option("", "folder with trainA and trainB (and testA, testB); empty takes data/translation")
    source_domain: str = option("A", "name of the domain in trainA")
    target_domain: str = option("B", "name of the domain in trainB")
    load_size: int = option(
        0, "images are scaled so that the shorter side has this; 0 leaves them", unit="pixels", minimum=0, maximum=4096
    )
    crop_size: int = option(
        128, "height and width of the random crops to train on", unit="pixels", minimum=16, maximum=1024
    )
    flip: bool = option(True, "whether crops are mirrored half the time")  # noqa: FBT003 - as every option
    images_per_epoch: int = option(
        0, "images of each domain in an epoch; 0 as many as the larger folder has", minimum=0
    )
    tile_size: int = option(
        256, "height and width of the tiles that are served", unit="pixels", minimum=16, maximum=1024
    )
    overlap: int = option(64, "what neighbouring tiles share; less than half a tile", unit="pixels", minimum=0)

    architecture: str = option(
        "light",
        "light blocks whose norms see one pixel; the published ResNet with instance norm; or light blocks taught on "
        "pairs, which is no CycleGAN but what one is compared with",
        choices=("light", "resnet", "paired"),
    )
    generator_channels: int = option(24, "channels of a generator at full size; four times as many inside", minimum=1)
    generator_blocks: int = option(6, "residual blocks of a generator", minimum=0)
    discriminator_channels: int = option(32, "channels of a discriminator's first layer", minimum=1)
    discriminator_layers: int = option(
        3, "strided layers of a discriminator; it judges patches of 16, 34, 70 pixels for 1, 2, 3", minimum=1, maximum=5
    )

    cycle_weight: float = option(10.0, "weight of what comes back from the way there and back", minimum=0)
    identity_weight: float = option(
        0.5, "weight of leaving images of the target domain alone, as a share of cycle_weight", minimum=0
    )
    identity_share: float = option(
        1.0, "share of the run, from its beginning, in which identity_weight counts", minimum=0, maximum=1
    )
    pool_size: int = option(
        50, "generated images kept for the discriminators; 0 shows them the newest only", unit="images", minimum=0
    )
    augment_translation: float = option(
        0.0, "the discriminators see images moved by up to this share; 0 none", minimum=0, maximum=0.5
    )
    learning_rate: float = option(2e-4, "Adam's, of the generators", minimum=0)
    discriminator_learning_rate: float = option(2e-4, "Adam's, of the discriminators", minimum=0)
    decay_from: float = option(
        0.5, "both learning rates fall to 0, linearly, from this share of the run to its end", minimum=0, maximum=1
    )
    beta1: float = option(0.5, "Adam's", minimum=0, maximum=0.9999)
    beta2: float = option(0.999, "Adam's", minimum=0, maximum=0.999999)
    ema_decay: float = option(
        0.0, "decay of the averaged weights that are exported; 0 exports the last step's", minimum=0, maximum=1
    )

    def __post_init__(self) -> None:
        """Checks what no single field's bounds show.

        Raises:
            ConfigurationError: A value is of no use.
        """
        for name in ("crop_size", "tile_size", "overlap"):
            if (size := getattr(self, name)) % DOWNSAMPLING:
                raise ConfigurationError(
                    f"{name} is {size}; generators halve an image twice, so it must be a multiple of {DOWNSAMPLING}"
                )
        if 2 * self.overlap >= self.tile_size:
            raise ConfigurationError(
                f"overlap is {self.overlap}; it must be less than half of tile_size, {self.tile_size}"
            )
        if 0 < self.load_size < self.crop_size:
            raise ConfigurationError(
                f"load_size is {self.load_size}; it must be 0 or at least crop_size, {self.crop_size}"
            )
        if not self.source_domain or not self.target_domain or self.source_domain == self.target_domain:
            raise ConfigurationError(
                f"source_domain is {self.source_domain!r} and target_domain {self.target_domain!r}; "
                "they must be two different names"
            )

    @property
    def epochs_may_change(self) -> bool:
        """The learning rate falls over the whole run."""
        return self.decay_from == 1.0 and (self.identity_share in (0.0, 1.0))
