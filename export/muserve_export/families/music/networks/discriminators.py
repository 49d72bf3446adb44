"""The discriminator: of rolls, all tracks together.

Dong and Yang, "Convolutional Generative Adversarial Networks with Binary Neurons for Polyphonic Music Generation",
ISMIR 2018: streams of onsets and chroma beside the rolls.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrizations import spectral_norm

from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.networks.layers import (
    BEATS_PER_BAR,
    CHANNELS,
    CONDITION_WIDTH,
    OCTAVE,
    OWN_FEATURES,
    ConditionEmbedding,
    Conditions,
    Shape,
    flatten,
    leaky,
    pitch_classes,
)

__all__ = ["Discriminator"]


class Discriminator(nn.Module):
    """Scores the tracks of a phrase together: above zero for real.

    Every convolution has a spectral norm of 1 (Miyato et al., "Spectral Normalization for Generative Adversarial
    Networks", 2018); conditions enter by projection (Miyato and Koyama, 2018), and one feature is the spread within the
    batch (Karras et al., "Progressive Growing of GANs", 2018), which betrays a generator that repeats itself.
    """

    fold: Tensor

    def __init__(self, config: MusicConfig, shape: Shape, *, normed: bool = True) -> None:
        super().__init__()

        def made(layer: nn.Module) -> nn.Module:
            return spectral_norm(layer) if normed else layer

        def conv(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> nn.Module:
            padding = kernel // 2 if stride == 1 else 0
            return made(nn.Conv1d(inputs, outputs, kernel, stride=stride, groups=groups, padding=padding))

        width, tracks = config.discriminator_width, shape.tracks
        self.shape = shape
        self.condition = ConditionEmbedding(shape.styles)
        own = OWN_FEATURES
        self.own = conv(tracks * CHANNELS * shape.pitches, tracks * own, groups=tracks)
        self.chroma = conv(tracks * CHANNELS * OCTAVE, 2 * own)
        self.rhythm = conv(2 * tracks, own, 5)
        self.first = conv((tracks + 3) * own, width)
        self.step = conv(width, width, 3)
        self.to_beat = conv(width, width, shape.steps_per_beat, stride=shape.steps_per_beat)
        self.beat = conv(width, width, 3)
        self.to_bar = conv(width, 2 * width, BEATS_PER_BAR, stride=BEATS_PER_BAR)
        self.bar = conv(2 * width, 2 * width, 3)
        self.beat_logit = conv(width, 1)
        self.bar_logit = conv(2 * width, 1)
        self.last = made(nn.Linear(2 * width * shape.bars + 1, 2 * width))
        self.head = made(nn.Linear(2 * width, 1))
        self.projection = made(nn.Linear(CONDITION_WIDTH, 2 * width, bias=False))
        self.bar_projection = made(nn.Linear(CONDITION_WIDTH, 2 * width, bias=False))
        self.register_buffer("fold", pitch_classes(shape), persistent=False)

    def forward(self, rolls: Tensor, conditions: Conditions) -> Tensor:
        """Scores phrases.

        Args:
            rolls: [batch, track, channel, step, pitch], 0 or 1.
            conditions: What was asked for.

        Returns:
            Logits, [batch, judgement]: of the phrase, of each bar and of each beat.
        """
        condition = self.condition(conditions)
        features = leaky(torch.cat([self.own(flatten(rolls)), *self._streams(rolls)], dim=1))
        steps = leaky(self.first(features))
        steps = steps + leaky(self.step(steps))
        beats = leaky(self.to_beat(steps))
        beats = beats + leaky(self.beat(beats))
        bars = leaky(self.to_bar(beats))
        bars = bars + leaky(self.bar(bars))  # [batch, feature, bar]
        flat = bars.flatten(1)
        spread = flat.std(0, unbiased=False).mean().expand(len(flat), 1)
        phrase = leaky(self.last(torch.cat([flat, spread], dim=1)))
        whole = self.head(phrase) + (phrase * self.projection(condition)).sum(1, keepdim=True)
        each_bar = self.bar_logit(bars)[:, 0] + (bars * self.bar_projection(condition)[:, :, None]).sum(1)
        return torch.cat([whole, each_bar, self.beat_logit(beats)[:, 0]], dim=1)

    def _streams(self, rolls: Tensor) -> tuple[Tensor, Tensor]:
        """Returns features of the chroma and of the rhythm, [batch, feature, step]."""
        onset = rolls[:, :, 0]
        sounding = rolls.sum(2)  # [batch, track, step, pitch]
        chroma = torch.stack([onset @ self.fold, sounding @ self.fold], dim=2)  # [batch, track, 2, step, class]
        rhythm = torch.stack([onset.sum(3), sounding.sum(3)], dim=2).flatten(1, 2) * 0.5  # [batch, track × 2, step]
        return self.chroma(flatten(chroma)), self.rhythm(rhythm)
