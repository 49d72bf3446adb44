"""What can be set on a training run."""

from __future__ import annotations

from dataclasses import dataclass

from muserve.configuration import option
from muserve_export.training.config import TrainingConfig

__all__ = ["PaletteConfig"]


@dataclass(frozen=True)
class PaletteConfig(TrainingConfig):
    """Settings of the palette family."""

    data: str = option(
        "", "CSV with the columns mood (words with | between) and colours; empty takes the package's own"
    )
    latent_size: int = option(8, "length of the noise vector", minimum=1)
    word_size: int = option(256, "length of a word's vector of hashed letters", minimum=16)
    hidden_size: int = option(96, "units of a hidden layer", minimum=1)
    kl_weight: float = option(0.001, "weight of the latent's divergence from a standard normal", minimum=0)
    learning_rate: float = option(2e-3, "Adam's", minimum=0)
    repeats: int = option(32, "how often an epoch shows each palette, each time by another of its words", minimum=1)
