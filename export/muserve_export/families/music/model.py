"""The music networks: MuseGAN's latents and joint judgement over one-dimensional convolutions in time.

Dong et al., "MuseGAN: Multi-track Sequential Generative Adversarial Networks for Symbolic Music Generation and
Accompaniment", AAAI 2018: latents that tracks share and latents of their own, each kept by a piece or moved by the bar;
heads that branch from a shared trunk; one discriminator for all tracks together. Dong and Yang, "Convolutional
Generative Adversarial Networks with Binary Neurons for Polyphonic Music Generation", ISMIR 2018: straight-through
binary output, and streams of onsets and chroma in the discriminator.

Shapes: rolls are [batch, track, channel, step, pitch] with the channels onset and hold; features are [batch, feature,
time].
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from itertools import pairwise
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.functional import leaky_relu, silu
from torch.nn.utils.parametrizations import spectral_norm

from muserve_export.families.music.config import MusicConfig

__all__ = [
    "BEATS_PER_BAR",
    "CHANNELS",
    "Conditions",
    "DenseDiscriminator",
    "DenseGenerator",
    "Discriminator",
    "Encoder",
    "Generator",
    "Jamming",
    "JammingDiscriminator",
    "JammingLatentDiscriminator",
    "JammingPosterior",
    "LatentDiscriminator",
    "Posterior",
    "Shape",
    "TemporalGenerator",
    "binarise",
    "latent_sizes",
    "make_discriminator",
    "make_generator",
    "make_latent_discriminator",
    "make_posterior",
]

BEATS_PER_BAR = 4
CHANNELS = 2
_CONDITION_WIDTH = 64
_SLOPE = 0.2
_OCTAVE = 12
_OWN_FEATURES = 40
_PITCH_SETS = 16
_SURE = 8.0
_TYPICAL_TEMPO_BPM = 120.0


@dataclass(frozen=True)
class Shape:
    """What the networks are built for."""

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
    """What music is asked for. A tuple, since Fabric looks for tensors in it."""

    style: Tensor
    """Index of the style, int64 [batch]."""
    tempo: Tensor
    """Quarter notes a minute, 0 for unknown, [batch]."""
    density: Tensor
    """0 to 1, -1 for open, [batch]."""

    def twice(self) -> Conditions:
        """Returns the same for a batch and its copy after it."""
        return Conditions(*(torch.cat([tensor, tensor]) for tensor in (self.style, self.tempo, self.density)))


class _ConditionEmbedding(nn.Module):
    """Style, tempo and density as one vector, [batch, 64]."""

    def __init__(self, styles: int) -> None:
        super().__init__()
        self.style = nn.Embedding(styles, _CONDITION_WIDTH)
        self.numbers = nn.Sequential(
            nn.Linear(4, _CONDITION_WIDTH), nn.SiLU(), nn.Linear(_CONDITION_WIDTH, _CONDITION_WIDTH)
        )

    def forward(self, conditions: Conditions) -> Tensor:
        tempo, density = conditions.tempo, conditions.density
        knows_tempo, knows_density = (tempo > 0).float(), (density >= 0).float()
        numbers = torch.stack(
            [
                2 * torch.log2(tempo.clamp(min=20.0) / _TYPICAL_TEMPO_BPM) * knows_tempo, knows_tempo,
                (2 * density - 1) * knows_density, knows_density,
            ],
            dim=1,
        )  # fmt: skip
        embedded: Tensor = self.style(conditions.style) + self.numbers(numbers)
        return embedded


class _Block(nn.Module):
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
        gain, bias = self.film(condition)[:, :, None].chunk(2, dim=1)
        normed = _norm(features, self.groups) * (1 + gain) + bias
        grown: Tensor = features + self.narrow(silu(self.wide(normed)))
        return grown


class _BarMixer(nn.Module):
    """Lets bars hear each other: the temporal generator's step from one vector to a sequence."""

    def __init__(self, width: int, bars: int) -> None:
        super().__init__()
        self.across = nn.Conv1d(bars, bars, 1)
        self.within = nn.Sequential(nn.Conv1d(width, 2 * width, 1), nn.SiLU(), nn.Conv1d(2 * width, width, 1))

    def forward(self, features: Tensor) -> Tensor:
        # [batch, feature, bar]
        mixed = features + self.across(_norm(features).transpose(1, 2)).transpose(1, 2)
        result: Tensor = mixed + self.within(_norm(mixed))
        return result


class Encoder(nn.Module):
    """Rolls to features of each step, beat and bar: what an accompanist hears."""

    fold: Tensor

    def __init__(self, config: MusicConfig, shape: Shape, *, extra: int = 0) -> None:
        """Takes `extra` more numbers a step than the rolls have: which tracks are given."""
        super().__init__()
        tracks = shape.tracks
        self.own = nn.Conv1d(tracks * CHANNELS * shape.pitches, tracks * _OWN_FEATURES, 1, groups=tracks)
        self.chroma = nn.Conv1d(tracks * _OCTAVE, config.step_width, 1)
        self.embed = nn.Conv1d(tracks * _OWN_FEATURES + extra, config.step_width, 1)
        self.register_buffer("fold", _fold(shape), persistent=False)
        self.step = _Block(config.step_width, 1)
        self.to_beat = nn.Conv1d(
            config.step_width, config.beat_width, shape.steps_per_beat, stride=shape.steps_per_beat
        )
        self.beat = _Block(config.beat_width, 1)
        self.to_bar = nn.Conv1d(config.beat_width, config.bar_width, BEATS_PER_BAR, stride=BEATS_PER_BAR)
        self.bar = nn.ModuleList([_BarMixer(config.bar_width, shape.bars)])

    def forward(self, rolls: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Returns features of steps, beats and bars, each [batch, feature, time]."""
        flat = silu(self.own(_flat(rolls)))
        if extra is not None:
            flat = torch.cat([flat, extra[:, :, None].expand(-1, -1, flat.shape[2])], dim=1)
        none = flat.new_zeros(flat.shape[0], 1)
        steps = self.step(self.embed(flat) + self.chroma(_flat((rolls.sum(2) @ self.fold)[:, :, None])), none)
        beats = self.beat(self.to_beat(silu(steps)), none)
        bars = self.to_bar(silu(beats))
        for mixer in self.bar:
            bars = mixer(bars)
        return steps, beats, bars


class Posterior(nn.Module):
    """Which noise a real segment could come from: mean and logarithm of the variance (Kingma and Welling, 2014)."""

    def __init__(self, config: MusicConfig, shape: Shape) -> None:
        super().__init__()
        self.encoder = Encoder(config, shape)
        latents = 1 + shape.tracks
        self.constant = nn.Linear(config.bar_width, 2 * latents * config.constant_latent_size)
        self.bars = nn.Conv1d(config.bar_width, 2 * latents * config.bar_latent_size, 1)

    def forward(self, rolls: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and logarithm of the variance: constant [batch, 2, size] and bars [batch, 2, bar, size]."""
        bars = _norm(self.encoder(rolls)[2])
        constant = self.constant(bars.mean(2)).reshape(len(rolls), 2, -1)
        moved = self.bars(bars)  # [batch, 2 × size, bar]
        return constant, moved.reshape(len(rolls), 2, -1, moved.shape[2]).transpose(2, 3)


class TemporalGenerator(nn.Module):
    """Noise to the latents of a phrase: what its bars keep and what moves from one to the next.

    It is what the latents of real phrases are learnt by, adversarially: `LatentDiscriminator` tells them from these.
    """

    def __init__(self, config: MusicConfig, shape: Shape, *, heard: int) -> None:
        """Takes `heard` features a bar of the given tracks."""
        super().__init__()
        kinds = 1 + shape.tracks
        constant, moved = kinds * config.constant_latent_size, kinds * config.bar_latent_size
        self.condition = _ConditionEmbedding(shape.styles)
        self.place = nn.Parameter(0.1 * torch.randn(config.bar_width, shape.bars))
        self.embed = nn.Conv1d(constant + moved + _CONDITION_WIDTH + heard, config.bar_width, 1)
        self.bars = nn.ModuleList([_BarMixer(config.bar_width, shape.bars) for _ in range(3)])
        self.constant = nn.Linear(config.bar_width, constant)
        self.moved = nn.Conv1d(config.bar_width, moved, 1)

    def forward(self, constant: Tensor, moved: Tensor, conditions: Conditions, heard: Tensor) -> tuple[Tensor, Tensor]:
        """Returns latents of the same shapes as the noise; `heard` is [batch, feature, bar]."""
        bars = self.place.shape[1]
        asked = torch.cat([constant, self.condition(conditions)], dim=1)[:, :, None].expand(-1, -1, bars)
        features = self.embed(torch.cat([asked, moved.transpose(1, 2), heard], dim=1)) + self.place
        for mixer in self.bars:
            features = mixer(features)
        features = _norm(features)
        return self.constant(features.mean(2)), self.moved(features).transpose(1, 2)


class Generator(nn.Module):
    """Noise and conditions to the tracks of a phrase, with or without given ones to listen to."""

    fold: Tensor

    def __init__(self, config: MusicConfig, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.sizes = (config.constant_latent_size, config.bar_latent_size)
        tracks, condition = shape.tracks, _CONDITION_WIDTH
        latent = sum(self.sizes) + condition
        self.track_width = config.track_width
        self.condition = _ConditionEmbedding(shape.styles)
        self.encoder = Encoder(config, shape, extra=tracks) if config.given_share else None
        self.heard_width = config.bar_width if self.encoder is not None else 0
        self.temporal = TemporalGenerator(config, shape, heard=self.heard_width)
        self.bar_place = nn.Parameter(0.1 * torch.randn(config.bar_width, shape.bars))
        self.to_bars = nn.Conv1d(latent, config.bar_width, 1)
        self.bars = nn.ModuleList([_BarMixer(config.bar_width, shape.bars) for _ in range(2)])
        self.to_beats = nn.ConvTranspose1d(config.bar_width, config.beat_width, BEATS_PER_BAR, stride=BEATS_PER_BAR)
        self.beats = nn.ModuleList([_Block(config.beat_width, condition) for _ in range(2)])
        self.to_steps = nn.ConvTranspose1d(
            config.beat_width, config.step_width, shape.steps_per_beat, stride=shape.steps_per_beat
        )
        self.steps = nn.ModuleList([_Block(config.step_width, condition)])
        # What is each track's own: its noise at every beat, its share of the trunk, its head.
        per_bar = BEATS_PER_BAR * config.track_width
        self.own_beats = nn.Conv1d(tracks * latent, tracks * per_bar, 1, groups=tracks)
        self.to_tracks = nn.Conv1d(config.step_width, tracks * config.track_width, 1)
        self.step_place = nn.Parameter(
            0.1 * torch.randn(tracks * config.track_width, BEATS_PER_BAR * shape.steps_per_beat)
        )
        self.heads = nn.ModuleList([_Block(tracks * config.track_width, condition, groups=tracks) for _ in range(2)])
        self.output = nn.Conv1d(tracks * config.track_width, tracks * CHANNELS * shape.pitches, 1, groups=tracks)
        # What sounds together comes from the beat: a few sets of pitches that all tracks choose from, step by step. So
        # only these need learn keys and chords, and the heads how an instrument plays them.
        self.pitch_sets = nn.Conv1d(config.beat_width, _PITCH_SETS * shape.pitches, 1)
        self.class_sets = nn.Conv1d(config.beat_width, _PITCH_SETS * _OCTAVE, 1)
        self.register_buffer("fold", _fold(shape), persistent=False)
        self.choices = nn.Conv1d(tracks * config.track_width, tracks * CHANNELS * _PITCH_SETS, 1, groups=tracks)
        nn.init.constant_(self.output.bias, -3.0)  # type: ignore[arg-type] # most cells are silent

    def forward(
        self,
        constant: Tensor,
        moved: Tensor,
        conditions: Conditions,
        given: Tensor | None = None,
        given_tracks: Tensor | None = None,
        *,
        from_noise: bool = True,
    ) -> Tensor:
        """Writes a phrase.

        Args:
            constant: Standard normal, [batch, (1 + tracks) × constant_latent_size].
            moved: Standard normal, [batch, bar, (1 + tracks) × bar_latent_size].
            conditions: What is asked for.
            given: Rolls of the tracks to accompany; of the others anything.
            given_tracks: 1 for the tracks to accompany, [batch, track].
            from_noise: False if `constant` and `moved` are latents already: the part that tracks share first.

        Returns:
            Logits, [batch, track, channel, step, pitch].
        """
        heard = self._listen(given, given_tracks)
        if from_noise:
            constant, moved = self.temporal(constant, moved, conditions, self._heard_bars(heard, constant))
        return self._write(constant, moved, conditions, heard)

    def imagine(
        self, constant: Tensor, moved: Tensor, conditions: Conditions, given: Tensor, given_tracks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns latents made of noise, and what they were made to fit, [batch, feature, bar]: see `forward`."""
        with torch.no_grad():  # what to listen for is learnt by writing
            heard = self._heard_bars(self._listen(given, given_tracks), constant)
        return *self.temporal(constant, moved, conditions, heard), heard

    def _heard_bars(self, heard: tuple[Tensor, Tensor, Tensor] | None, like: Tensor) -> Tensor:
        if heard is None:
            return like.new_zeros(like.shape[0], self.heard_width, self.shape.bars)
        return heard[2]

    def _write(
        self, constant: Tensor, moved: Tensor, conditions: Conditions, heard: tuple[Tensor, Tensor, Tensor] | None
    ) -> Tensor:
        shape = self.shape
        condition = self.condition(conditions)  # [batch, condition]
        shared, own = self._latents(constant, moved, condition)
        bars = self.to_bars(shared) + self.bar_place
        if heard is not None:
            bars = bars + heard[2]
        for mixer in self.bars:
            bars = mixer(bars)
        beats = self.to_beats(silu(bars))
        if heard is not None:
            beats = beats + heard[1]
        for block in self.beats:
            beats = block(beats, condition)
        steps = self.to_steps(silu(beats))
        if heard is not None:
            steps = steps + heard[0]
        for block in self.steps:
            steps = block(steps, condition)
        tracks = self.to_tracks(silu(steps)) + self._own_steps(own)
        for block in self.heads:
            tracks = block(tracks, condition)
        features = silu(_norm(tracks, shape.tracks))
        logits = self.output(features).unflatten(1, (shape.tracks, CHANNELS, shape.pitches)).transpose(3, 4)
        result: Tensor = logits + self._choose(features, beats)
        return result

    def _latents(self, constant: Tensor, moved: Tensor, condition: Tensor) -> tuple[Tensor, Tensor]:
        """Returns the shared latents [batch, latent, bar] and those of the tracks [batch, track × latent, bar]."""
        bars, latents = self.shape.bars, 1 + self.shape.tracks
        kept = constant.reshape(-1, latents, self.sizes[0], 1).expand(-1, -1, -1, bars)
        own = moved.reshape(-1, bars, latents, self.sizes[1]).permute(0, 2, 3, 1)
        asked = condition[:, None, :, None].expand(-1, latents, -1, bars)
        joined = torch.cat([kept, own, asked], dim=2)  # [batch, latent kind, latent, bar]
        return joined[:, 0], joined[:, 1:].flatten(1, 2)

    def _choose(self, features: Tensor, beats: Tensor) -> Tensor:
        """Weighs the beat's sets of pitches for each track and step: [batch, track, channel, step, pitch]."""
        shape = self.shape
        hidden = silu(_norm(beats))
        sets = self.pitch_sets(hidden).unflatten(1, (1, _PITCH_SETS, shape.pitches))
        classes = self.class_sets(hidden).unflatten(1, (1, _PITCH_SETS, _OCTAVE))
        sets = sets + (classes.transpose(3, 4) @ self.fold.T).transpose(3, 4)  # the same in every octave
        choices = self.choices(features).unflatten(2, (shape.beats, shape.steps_per_beat))
        choices = choices.unflatten(1, (shape.tracks * CHANNELS, _PITCH_SETS))
        # [batch, track × channel, beat, step, set] @ [batch, 1, beat, set, pitch]
        chosen = choices.permute(0, 1, 3, 4, 2) @ sets.permute(0, 1, 4, 2, 3)
        by_track: Tensor = chosen.flatten(2, 3).unflatten(1, (shape.tracks, CHANNELS))
        return by_track

    def _own_steps(self, own: Tensor) -> Tensor:
        """Returns what each track draws from its own noise, [batch, track × feature, step]."""
        shape, width = self.shape, self.track_width
        beats = self.own_beats(own).reshape(-1, shape.tracks, width, BEATS_PER_BAR, shape.bars)
        beats = beats.permute(0, 1, 2, 4, 3).reshape(-1, shape.tracks * width, shape.beats)
        steps = beats.repeat_interleave(shape.steps_per_beat, dim=2)
        placed: Tensor = steps + self.step_place.repeat(1, shape.bars)
        return placed

    def _listen(self, given: Tensor | None, given_tracks: Tensor | None) -> tuple[Tensor, Tensor, Tensor] | None:
        if self.encoder is None or given is None or given_tracks is None:
            return None
        # Rows without any given track hear nothing at all, so that they are written as the generator alone would.
        hears = (given_tracks.sum(1) > 0).float()[:, None, None]
        steps, beats, bars = self.encoder(given * given_tracks[:, :, None, None, None], given_tracks)
        return steps * hears, beats * hears, bars * hears


class LatentDiscriminator(nn.Module):
    """Tells latents of real phrases from those of the temporal generator: above zero for real."""

    def __init__(self, config: MusicConfig, shape: Shape, *, heard: int) -> None:
        super().__init__()
        kinds = 1 + shape.tracks
        latent = kinds * (config.constant_latent_size + config.bar_latent_size)
        width = 2 * config.discriminator_width

        def conv(inputs: int, outputs: int, kernel: int = 1) -> nn.Module:
            return spectral_norm(nn.Conv1d(inputs, outputs, kernel, padding=kernel // 2))

        self.condition = _ConditionEmbedding(shape.styles)
        self.embed = conv(latent + _CONDITION_WIDTH + heard, width)
        self.layers = nn.ModuleList([conv(width, width), conv(width, width, 3), conv(width, width, 3)])
        self.bar_logit = conv(width, 1)
        self.projection = spectral_norm(nn.Linear(_CONDITION_WIDTH, width, bias=False))
        self.last = spectral_norm(nn.Linear(width * shape.bars + 1, width))
        self.head = spectral_norm(nn.Linear(width, 1))

    def forward(self, constant: Tensor, moved: Tensor, conditions: Conditions, heard: Tensor) -> Tensor:
        """Returns logits, [batch, judgement]: of the phrase and of each bar. Takes what `TemporalGenerator` does."""
        condition = self.condition(conditions)
        asked = torch.cat([constant, condition], dim=1)[:, :, None].expand(-1, -1, moved.shape[1])
        features = _leaky(self.embed(torch.cat([asked, moved.transpose(1, 2), heard], dim=1)))
        for layer in self.layers:
            features = features + _leaky(layer(features))
        flat = features.flatten(1)
        spread = flat.std(0, unbiased=False).mean().expand(len(flat), 1)
        phrase = _leaky(self.last(torch.cat([flat, spread], dim=1)))
        whole = self.head(phrase) + (phrase * self.projection(condition)).sum(1, keepdim=True)
        return torch.cat([whole, self.bar_logit(features)[:, 0]], dim=1)


class Discriminator(nn.Module):
    """Judges the tracks of a phrase together: above zero for real.

    Every convolution has a spectral norm of 1 (Miyato et al., "Spectral Normalization for Generative Adversarial
    Networks", 2018); conditions enter by projection (Miyato and Koyama, 2018), and one feature is the spread within the
    batch (Karras et al., "Progressive Growing of GANs", 2018), which betrays a generator that repeats itself.
    """

    fold: Tensor

    def __init__(self, config: MusicConfig, shape: Shape, *, normed: bool = True) -> None:
        super().__init__()

        def conv(inputs: int, outputs: int, kernel: int = 1, *, stride: int = 1, groups: int = 1) -> nn.Module:
            layer = nn.Conv1d(
                inputs, outputs, kernel, stride=stride, groups=groups, padding=kernel // 2 if stride == 1 else 0
            )
            return spectral_norm(layer) if normed else layer

        width, tracks = config.discriminator_width, shape.tracks
        self.shape = shape
        self.condition = _ConditionEmbedding(shape.styles)
        own = _OWN_FEATURES
        self.own = conv(tracks * CHANNELS * shape.pitches, tracks * own, groups=tracks)
        self.chroma = conv(tracks * CHANNELS * _OCTAVE, 2 * own)
        self.rhythm = conv(2 * tracks, own, 5)
        self.first = conv((tracks + 3) * own, width)
        self.step = conv(width, width, 3)
        self.to_beat = conv(width, width, shape.steps_per_beat, stride=shape.steps_per_beat)
        self.beat = conv(width, width, 3)
        self.to_bar = conv(width, 2 * width, BEATS_PER_BAR, stride=BEATS_PER_BAR)
        self.bar = conv(2 * width, 2 * width, 3)
        self.beat_logit = conv(width, 1)
        self.bar_logit = conv(2 * width, 1)
        last = nn.Linear(2 * width * shape.bars + 1, 2 * width)
        self.last = spectral_norm(last) if normed else last
        head = nn.Linear(2 * width, 1)
        self.head = spectral_norm(head) if normed else head
        projection = nn.Linear(_CONDITION_WIDTH, 2 * width, bias=False)
        self.projection = spectral_norm(projection) if normed else projection
        bar_projection = nn.Linear(_CONDITION_WIDTH, 2 * width, bias=False)
        self.bar_projection = spectral_norm(bar_projection) if normed else bar_projection
        self.register_buffer("fold", _fold(shape), persistent=False)

    def forward(self, rolls: Tensor, conditions: Conditions) -> Tensor:
        """Judges phrases.

        Args:
            rolls: [batch, track, channel, step, pitch], 0 or 1.
            conditions: What was asked for.

        Returns:
            Logits, [batch, judgement]: of the phrase, of each bar and of each beat.
        """
        condition = self.condition(conditions)
        features = _leaky(torch.cat([self.own(_flat(rolls)), *self._streams(rolls)], dim=1))
        steps = _leaky(self.first(features))
        steps = steps + _leaky(self.step(steps))
        beats = _leaky(self.to_beat(steps))
        beats = beats + _leaky(self.beat(beats))
        bars = _leaky(self.to_bar(beats))
        bars = bars + _leaky(self.bar(bars))  # [batch, feature, bar]
        flat = bars.flatten(1)
        spread = flat.std(0, unbiased=False).mean().expand(len(flat), 1)
        phrase = _leaky(self.last(torch.cat([flat, spread], dim=1)))
        whole = self.head(phrase) + (phrase * self.projection(condition)).sum(1, keepdim=True)
        each_bar = self.bar_logit(bars)[:, 0] + (bars * self.bar_projection(condition)[:, :, None]).sum(1)
        return torch.cat([whole, each_bar, self.beat_logit(beats)[:, 0]], dim=1)

    def _streams(self, rolls: Tensor) -> tuple[Tensor, Tensor]:
        """Returns features of the chroma and of the rhythm, [batch, feature, step]."""
        onset = rolls[:, :, 0]
        sounding = rolls.sum(2)  # [batch, track, step, pitch]
        chroma = torch.stack([onset @ self.fold, sounding @ self.fold], dim=2)  # [batch, track, 2, step, class]
        rhythm = torch.stack([onset.sum(3), sounding.sum(3)], dim=2).flatten(1, 2) * 0.5  # [batch, track × 2, step]
        return self.chroma(_flat(chroma)), self.rhythm(rhythm)


class Jamming(nn.Module):
    """The paper's baseline: a generator a track, which share no latent and never hear each other."""

    def __init__(self, config: MusicConfig, shape: Shape) -> None:
        super().__init__()
        self.tracks = nn.ModuleList([Generator(config, shape.alone) for _ in range(shape.tracks)])

    def forward(
        self,
        constant: Tensor,
        moved: Tensor,
        conditions: Conditions,
        given: Tensor | None = None,
        given_tracks: Tensor | None = None,
        *,
        from_noise: bool = True,
    ) -> Tensor:
        """Writes a phrase; see `Generator.forward`. Each track has its own part of the latents and hears nothing."""
        parts = zip(self.tracks, *_of_tracks(constant, moved, len(self.tracks)), strict=True)
        return torch.cat([track(*own, conditions, from_noise=from_noise) for track, *own in parts], dim=1)

    def imagine(
        self, constant: Tensor, moved: Tensor, conditions: Conditions, given: Tensor, given_tracks: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Returns latents made of noise; see `Generator.imagine`."""
        parts = zip(self.tracks, *_of_tracks(constant, moved, len(self.tracks)), strict=True)
        made = [track.imagine(*own, conditions, given, given_tracks) for track, *own in parts]  # type: ignore[operator]
        constants, bars, heard = zip(*made, strict=True)
        return torch.cat(constants, dim=1), torch.cat(bars, dim=2), heard[0]


class JammingDiscriminator(nn.Module):
    """A discriminator a track."""

    def __init__(self, config: MusicConfig, shape: Shape, *, normed: bool = True) -> None:
        super().__init__()
        self.tracks = nn.ModuleList([Discriminator(config, shape.alone, normed=normed) for _ in range(shape.tracks)])

    def forward(self, rolls: Tensor, conditions: Conditions) -> Tensor:
        """Judges each track by itself; see `Discriminator.forward`."""
        judged = [track(rolls[:, index : index + 1], conditions) for index, track in enumerate(self.tracks)]
        return torch.cat(judged, dim=1)


class JammingLatentDiscriminator(nn.Module):
    """A discriminator of latents a track."""

    def __init__(self, config: MusicConfig, shape: Shape) -> None:
        super().__init__()
        self.tracks = nn.ModuleList([LatentDiscriminator(config, shape.alone, heard=0) for _ in range(shape.tracks)])

    def forward(self, constant: Tensor, moved: Tensor, conditions: Conditions, heard: Tensor) -> Tensor:
        """Judges each track's latents by themselves; see `LatentDiscriminator.forward`."""
        parts = zip(self.tracks, *_of_tracks(constant, moved, len(self.tracks)), strict=True)
        judged = [track(*own, conditions, heard) for track, *own in parts]
        return torch.stack(judged, dim=2).mean(2)


class JammingPosterior(nn.Module):
    """A posterior a track."""

    def __init__(self, config: MusicConfig, shape: Shape) -> None:
        super().__init__()
        self.tracks = nn.ModuleList([Posterior(config, shape.alone) for _ in range(shape.tracks)])

    def forward(self, rolls: Tensor) -> tuple[Tensor, Tensor]:
        """Returns mean and logarithm of the variance; see `Posterior.forward`. Each track has its own part."""
        found = [track(rolls[:, index : index + 1]) for index, track in enumerate(self.tracks)]
        return torch.cat([constant for constant, _ in found], dim=2), torch.cat([bars for _, bars in found], dim=3)


class DenseGenerator(nn.Module):
    """The tutorial's: 100 → 256 → 512 → 1024 → 88, ReLU, tanh. Noise to one chord."""

    def __init__(self, config: MusicConfig) -> None:
        super().__init__()
        sizes = (config.constant_latent_size, *config.generator_widths)
        self.layers = nn.Sequential(*_dense(sizes), nn.Linear(sizes[-1], config.pitches), nn.Tanh())

    def forward(self, latent: Tensor) -> Tensor:
        """Returns chords, [batch, pitch] in [-1, 1], from standard normal noise [batch, latent_size]."""
        chords: Tensor = self.layers(latent)
        return chords


class DenseDiscriminator(nn.Module):
    """The tutorial's: 88 → 1024 → 512 → 256 → 1. Its sigmoid is inside the loss."""

    def __init__(self, config: MusicConfig) -> None:
        super().__init__()
        sizes = (config.pitches, *config.discriminator_widths)
        self.layers = nn.Sequential(*_dense(sizes), nn.Linear(sizes[-1], 1))

    def forward(self, chords: Tensor) -> Tensor:
        """Returns logits, [batch, 1], of chords [batch, pitch] in [-1, 1]."""
        logits: Tensor = self.layers(chords)
        return logits


def make_generator(config: MusicConfig, shape: Shape) -> nn.Module:
    """Builds the generator of a configuration, with fresh weights."""
    return Jamming(config, shape) if config.architecture == "jamming" else Generator(config, shape)


def make_discriminator(config: MusicConfig, shape: Shape) -> nn.Module:
    """Builds the discriminator of a configuration, with fresh weights."""
    normed = config.loss == "hinge"
    if config.architecture == "jamming":
        return JammingDiscriminator(config, shape, normed=normed)
    return Discriminator(config, shape, normed=normed)


def make_latent_discriminator(config: MusicConfig, shape: Shape) -> nn.Module:
    """Builds the discriminator of latents of a configuration, with fresh weights."""
    if config.architecture == "jamming":
        return JammingLatentDiscriminator(config, shape)
    return LatentDiscriminator(config, shape, heard=config.bar_width if config.given_share else 0)


def make_posterior(config: MusicConfig, shape: Shape) -> nn.Module:
    """Builds the posterior of a configuration, with fresh weights."""
    return JammingPosterior(config, shape) if config.architecture == "jamming" else Posterior(config, shape)


def latent_sizes(config: MusicConfig, shape: Shape) -> tuple[int, int]:
    """Returns how much noise a piece keeps and how much each bar has of its own."""
    kinds = 2 * shape.tracks if config.architecture == "jamming" else 1 + shape.tracks
    return kinds * config.constant_latent_size, kinds * config.bar_latent_size


def binarise(logits: Tensor) -> Tensor:
    """Rounds probabilities to 0 or 1, and passes gradients as if it had not (Bengio et al., 2013: straight-through).

    Gradients are the same wherever a cell is not quite sure. A sigmoid's own would let notes go ten times as easily as
    come, since silent cells are surer than sounding ones, and a generator would fall silent.
    """
    passed = logits.clamp(-_SURE, _SURE) / 4
    return (logits > 0).float() + passed - passed.detach()


def _fold(shape: Shape) -> Tensor:
    """Returns which pitch belongs to which class, [pitch, pitch class]."""
    return torch.eye(_OCTAVE)[(torch.arange(shape.pitches) + shape.lowest_pitch) % _OCTAVE]


def _of_tracks(constant: Tensor, moved: Tensor, tracks: int) -> tuple[tuple[Tensor, ...], tuple[Tensor, ...]]:
    """Returns each track's own part of the latents of jamming."""
    return constant.chunk(tracks, dim=1), moved.chunk(tracks, dim=2)


def _norm(features: Tensor, groups: int = 1) -> Tensor:
    """Scales the features of each group at each time to a root mean square of 1."""
    grouped = features.unflatten(1, (groups, -1))
    normed: Tensor = (grouped * torch.rsqrt(grouped.square().mean(2, keepdim=True) + 1e-6)).flatten(1, 2)
    return normed


def _flat(rolls: Tensor) -> Tensor:
    """Turns [batch, track, channel, step, pitch] into [batch, track × channel × pitch, step]."""
    return rolls.transpose(3, 4).flatten(1, 3)


def _leaky(features: Tensor) -> Tensor:
    return leaky_relu(features, _SLOPE)


def _dense(sizes: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers
