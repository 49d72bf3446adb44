"""The generator, with its encoder of given tracks, and the posterior.

Dong et al., "MuseGAN: Multi-track Sequential Generative Adversarial Networks for Symbolic Music Generation and
Accompaniment", AAAI 2018: latents that tracks share and latents of their own, each kept by a piece or moved by the bar,
by a temporal generator; and a bar generator whose heads, one a track, branch from a shared trunk.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import silu

from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.networks.layers import (
    BEATS_PER_BAR,
    CHANNELS,
    CONDITION_WIDTH,
    OCTAVE,
    OWN_FEATURES,
    BarMixer,
    Block,
    ConditionEmbedding,
    Conditions,
    Shape,
    flatten,
    norm,
    pitch_classes,
)
from muserve_export.families.music.networks.temporal import LatentSample, TemporalGenerator

__all__ = ["Encoder", "Generator", "Posterior"]

_PITCH_SETS = 16


class Encoder(nn.Module):
    """Rolls to features of each step, beat and bar: what an accompanist hears."""

    fold: Tensor

    def __init__(self, config: MusicConfig, shape: Shape, *, extra: int = 0) -> None:
        """Takes `extra` more numbers a step than the rolls have: which tracks are given."""
        super().__init__()
        tracks = shape.tracks
        self.own = nn.Conv1d(tracks * CHANNELS * shape.pitches, tracks * OWN_FEATURES, 1, groups=tracks)
        self.chroma = nn.Conv1d(tracks * OCTAVE, config.step_width, 1)
        self.embed = nn.Conv1d(tracks * OWN_FEATURES + extra, config.step_width, 1)
        self.register_buffer("fold", pitch_classes(shape), persistent=False)
        self.step = Block(config.step_width, 1)
        self.to_beat = nn.Conv1d(
            config.step_width, config.beat_width, shape.steps_per_beat, stride=shape.steps_per_beat
        )
        self.beat = Block(config.beat_width, 1)
        self.to_bar = nn.Conv1d(config.beat_width, config.bar_width, BEATS_PER_BAR, stride=BEATS_PER_BAR)
        self.bar = nn.ModuleList([BarMixer(config.bar_width, shape.bars)])

    def forward(self, rolls: Tensor, extra: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Returns features of steps, beats and bars, each [batch, feature, time]."""
        flat = silu(self.own(flatten(rolls)))
        if extra is not None:
            flat = torch.cat([flat, extra[:, :, None].expand(-1, -1, flat.shape[2])], dim=1)
        none = flat.new_zeros(flat.shape[0], 1)
        steps = self.step(self.embed(flat) + self.chroma(flatten((rolls.sum(2) @ self.fold)[:, :, None])), none)
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
        bars = norm(self.encoder(rolls)[2])
        constant = self.constant(bars.mean(2)).reshape(len(rolls), 2, -1)
        moved = self.bars(bars)  # [batch, 2 × size, bar]
        return constant, moved.reshape(len(rolls), 2, -1, moved.shape[2]).transpose(2, 3)


class Generator(nn.Module):
    """Noise and conditions to the tracks of a phrase, with or without given ones to listen to."""

    fold: Tensor

    def __init__(self, config: MusicConfig, shape: Shape) -> None:
        super().__init__()
        self.shape = shape
        self.sizes = (config.constant_latent_size, config.bar_latent_size)
        tracks, condition = shape.tracks, CONDITION_WIDTH
        latent = sum(self.sizes) + condition
        self.track_width = config.track_width
        self.condition = ConditionEmbedding(shape.styles)
        self.encoder = Encoder(config, shape, extra=tracks) if config.given_share else None
        self.heard_width = config.bar_width if self.encoder is not None else 0
        self.bar_place = nn.Parameter(0.1 * torch.randn(config.bar_width, shape.bars))
        self.to_bars = nn.Conv1d(latent, config.bar_width, 1)
        self.bars = nn.ModuleList([BarMixer(config.bar_width, shape.bars) for _ in range(2)])
        self.to_beats = nn.ConvTranspose1d(config.bar_width, config.beat_width, BEATS_PER_BAR, stride=BEATS_PER_BAR)
        self.beats = nn.ModuleList([Block(config.beat_width, condition) for _ in range(2)])
        self.to_steps = nn.ConvTranspose1d(
            config.beat_width, config.step_width, shape.steps_per_beat, stride=shape.steps_per_beat
        )
        self.steps = nn.ModuleList([Block(config.step_width, condition)])
        # What is each track's own: its noise at every beat, its share of the trunk, its head.
        per_bar = BEATS_PER_BAR * config.track_width
        self.own_beats = nn.Conv1d(tracks * latent, tracks * per_bar, 1, groups=tracks)
        self.to_tracks = nn.Conv1d(config.step_width, tracks * config.track_width, 1)
        self.step_place = nn.Parameter(
            0.1 * torch.randn(tracks * config.track_width, BEATS_PER_BAR * shape.steps_per_beat)
        )
        self.heads = nn.ModuleList([Block(tracks * config.track_width, condition, groups=tracks) for _ in range(2)])
        self.output = nn.Conv1d(tracks * config.track_width, tracks * CHANNELS * shape.pitches, 1, groups=tracks)
        # What sounds together comes from the beat: a few sets of pitches that all tracks choose from, step by step. So
        # only these need learn keys and chords, and the heads how an instrument plays them.
        self.pitch_sets = nn.Conv1d(config.beat_width, _PITCH_SETS * shape.pitches, 1)
        self.class_sets = nn.Conv1d(config.beat_width, _PITCH_SETS * OCTAVE, 1)
        self.register_buffer("fold", pitch_classes(shape), persistent=False)
        self.choices = nn.Conv1d(tracks * config.track_width, tracks * CHANNELS * _PITCH_SETS, 1, groups=tracks)
        nn.init.constant_(self.output.bias, -3.0)  # type: ignore[arg-type] # most cells are silent
        self.temporal = TemporalGenerator(config, shape, heard=self.heard_width)

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
        """Generates a phrase.

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
        self,
        noise: tuple[Tensor, Tensor],
        constant: Tensor,
        moved: Tensor,
        conditions: Conditions,
        given: Tensor,
        given_tracks: Tensor,
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Generates latents from noise, and their KL divergence from a posterior.

        Only the temporal generator learns by it: what to listen for is learnt by `find`.

        Returns:
            Latents as `forward` takes them, and nats as of `find`.
        """
        with torch.no_grad():
            heard = self._heard_bars(self._listen(given, given_tracks), noise[0])
        found = (LatentSample.draw(constant), LatentSample.draw(moved))
        return *self.temporal(*noise, conditions, heard), self.temporal.divergence(*found, conditions, heard)

    def find(
        self, constant: Tensor, moved: Tensor, conditions: Conditions, given: Tensor, given_tracks: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Reconstructs phrases from the latents of a posterior.

        Args:
            constant: Mean and logarithm of the variance, [batch, 2, size].
            moved: The same of each bar, [batch, 2, bar, size].
            conditions: What the phrases are.
            given: As in `forward`.
            given_tracks: As in `forward`.

        Returns:
            Logits as in `forward`, and the nats that the posterior tells beyond what is imagined, [batch].
        """
        heard = self._listen(given, given_tracks)
        kept, bars = LatentSample.draw(constant), LatentSample.draw(moved)
        nats = self.temporal.divergence(kept, bars, conditions, self._heard_bars(heard, constant))
        return self._write(kept.drawn, bars.drawn, conditions, heard), nats

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
        features = silu(norm(tracks, shape.tracks))
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
        hidden = silu(norm(beats))
        sets = self.pitch_sets(hidden).unflatten(1, (1, _PITCH_SETS, shape.pitches))
        classes = self.class_sets(hidden).unflatten(1, (1, _PITCH_SETS, OCTAVE))
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
