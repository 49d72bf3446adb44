"""A conditional variational autoencoder (Sohn, Lee and Yan, NeurIPS 2015) of palettes given a word."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from muserve_palette.colours import COLOURS
from muserve_palette.config import PaletteConfig

__all__ = ["Encoder", "Generator"]

_VALUES = COLOURS * 3
_GREY = (0.6, 0.0, 0.0)  # what the generator starts from, in OKLab


def _layers(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, outputs)
    )


class Generator(nn.Module):
    """Noise and a word to a palette: this is what is exported."""

    def __init__(self, config: PaletteConfig) -> None:
        super().__init__()
        self.layers = _layers(config.latent_size + config.word_size, config.hidden_size, _VALUES)
        self.register_buffer("grey", torch.tensor(_GREY).repeat(COLOURS))

    def forward(self, latent: Tensor, word: Tensor) -> Tensor:
        """Returns [batch, colour, 3] in OKLab."""
        values: Tensor = self.grey + self.layers(torch.cat([latent, word], dim=1))
        return values.reshape(-1, COLOURS, 3)


class Encoder(nn.Module):
    """A palette and its word to what is left to chance: for training only."""

    def __init__(self, config: PaletteConfig) -> None:
        super().__init__()
        self.layers = _layers(_VALUES + config.word_size, config.hidden_size, 2 * config.latent_size)

    def forward(self, palette: Tensor, word: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and logarithm of the variance, [batch, latent] each."""
        mean, log_variance = self.layers(torch.cat([palette.flatten(1), word], dim=1)).chunk(2, dim=1)
        return mean, log_variance
