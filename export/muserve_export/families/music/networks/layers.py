"""Building blocks of the music networks: shapes, conditions, and layers over features in time.

Shapes: rolls are [batch, track, channel, step, pitch] with the channels onset and hold; features are [batch, feature,
time].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, silu

__all__ = [
    "BEATS_PER_BAR",
    "CHANNELS",
    "CONDITION_WIDTH",
    "OCTAVE",
    "OWN_FEATURES",
    "BarMixer",
    "Block",
    "ConditionEmbedding",
    "Conditions",
    "Shape",
    "flatten",
    "leaky",
    "norm",
    "pitch_classes",
    "row_mean",
]

BEATS_PER_BAR = 4
CHANNELS = 2
"""Onset and hold."""
OCTAVE = 12
CONDITION_WIDTH = 64
"""Features of an embedded condition."""
OWN_FEATURES = 40
"""Features of a step that encoders and discriminators draw from each track by itself, before they join the tracks."""
_SLOPE = 0.2
_TYPICAL_TEMPO_BPM = 120.0
_LANES = 16
"""Numbers that a processor takes at once, at most."""


@dataclass(frozen=True)
class Shape:
    """Sizes that the networks are built for."""

    tracks: int
    """Tracks."""
    styles: int
    """Styles; at least 1."""
    bars: int
    """Bars of a phrase."""
    steps_per_beat: int
    """Steps of a beat."""
    lowest_pitch: int
    """MIDI number of the lowest pitch."""
    pitches: int
    """Pitches."""

    @property
    def alone(self) -> Shape:
        """The same for a network of one track."""
        return replace(self, tracks=1)

    @property
    def beats(self) -> int:
        """Beats of a phrase."""
        return self.bars * BEATS_PER_BAR

    @property
    def steps(self) -> int:
        """Steps of a phrase."""
        return self.beats * self.steps_per_beat


class Conditions(NamedTuple):
    """Conditions of a phrase. A tuple, since Fabric looks for tensors in it."""

    style: Tensor
    """Index of the style, int64 [batch]."""
    tempo: Tensor
    """Quarter notes a minute, 0 for unknown, [batch]."""
    density: Tensor
    """0 to 1, -1 for unspecified, [batch]."""

    def twice(self) -> Conditions:
        """Returns the same for a batch and its copy after it."""
        return Conditions(*(torch.cat([tensor, tensor]) for tensor in (self.style, self.tempo, self.density)))


class ConditionEmbedding(nn.Module):
    """Style, tempo and density as one vector, [batch, 64]."""

    def __init__(self, styles: int) -> None:
        super().__init__()
        self.style = nn.Embedding(styles, CONDITION_WIDTH)
        self.numbers = nn.Sequential(
            nn.Linear(4, CONDITION_WIDTH), nn.SiLU(), nn.Linear(CONDITION_WIDTH, CONDITION_WIDTH)
        )

    def forward(self, conditions: Conditions) -> Tensor:
        """Embeds conditions: [batch, 64]."""
        tempo, density = conditions.tempo, conditions.density
        knows_tempo, knows_density = (tempo > 0).float(), (density >= 0).float()
        # Several times beside each other, since onnxruntime's logarithm of a number depends by a bit on how many stand
        # after it, up to 16 (1.32, on a CPU): so would a row on its batch.
        tempi = (tempo.clamp(min=20.0) / _TYPICAL_TEMPO_BPM)[:, None].repeat(1, _LANES)
        numbers = torch.stack(
            [
                2 * torch.log2(tempi)[:, 0] * knows_tempo, knows_tempo,
                (2 * density - 1) * knows_density, knows_density,
            ],
            dim=1,
        )  # fmt: skip
        embedded: Tensor = self.style(conditions.style) + self.numbers(numbers)
        return embedded


class Block(nn.Module):
    """A residual convolution in time, normed over the features of each group and set by the condition."""

    def __init__(self, width: int, condition: int, *, groups: int = 1) -> None:
        super().__init__()
        self.groups = groups
        self.film = nn.Linear(condition, 2 * width)
        nn.init.normal_(self.film.weight, std=0.05)
        nn.init.zeros_(self.film.bias)
        self.wide = nn.Conv1d(width, width, 3, padding=1, groups=groups)
        self.narrow = nn.Conv1d(width, width, 1, groups=groups)

    def forward(self, features: Tensor, condition: Tensor) -> Tensor:
        """Takes features [batch, feature, time] and a condition [batch, feature]; returns the features' shape."""
        gain, bias = self.film(condition)[:, :, None].chunk(2, dim=1)
        normed = norm(features, self.groups) * (1 + gain) + bias
        grown: Tensor = features + self.narrow(silu(self.wide(normed)))
        return grown


class BarMixer(nn.Module):
    """Mixes bars: the temporal generator's step from one vector to a sequence."""

    def __init__(self, width: int, bars: int) -> None:
        super().__init__()
        self.across = nn.Conv1d(bars, bars, 1)
        self.within = nn.Sequential(nn.Conv1d(width, 2 * width, 1), nn.SiLU(), nn.Conv1d(2 * width, width, 1))

    def forward(self, features: Tensor) -> Tensor:
        """Takes and returns features of bars, [batch, feature, bar]."""
        mixed = features + self.across(norm(features).transpose(1, 2)).transpose(1, 2)
        result: Tensor = mixed + self.within(norm(mixed))
        return result


def pitch_classes(shape: Shape) -> Tensor:
    """Returns which pitch belongs to which class, [pitch, pitch class]."""
    return torch.eye(OCTAVE)[(torch.arange(shape.pitches) + shape.lowest_pitch) % OCTAVE]


def norm(features: Tensor, groups: int = 1) -> Tensor:
    """Scales the features of each group at each time to a root mean square of 1."""
    grouped = features.unflatten(1, (groups, -1))
    normed: Tensor = (grouped * torch.rsqrt(row_mean(grouped.square()) + 1e-6)).flatten(1, 2)
    return normed


def row_mean(values: Tensor) -> Tensor:
    """Averages over the axis before the last, [..., row, column] to [..., 1, column].

    As a product of matrices: onnxruntime's mean adds up a batch of one in another order than a larger one (1.32, on a
    CPU), so that a row would depend on its batch.
    """
    rows = values.shape[-2]
    return values.new_full((1, rows), 1 / rows) @ values


def flatten(rolls: Tensor) -> Tensor:
    """Turns [batch, track, channel, step, pitch] into [batch, track × channel × pitch, step]."""
    return rolls.transpose(3, 4).flatten(1, 3)


def leaky(features: Tensor) -> Tensor:
    """The discriminators' nonlinearity."""
    return leaky_relu(features, _SLOPE)
