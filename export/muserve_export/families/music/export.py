"""Plans a bundle of the music task from a trained generator."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from muserve.v1 import common_pb2, manifest_pb2, music_pb2
from muserve_export.bundling import BundlePlan, GraphSource, tensor_spec
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.data import TRACK_SETTINGS, TRACKS, MusicData
from muserve_export.families.music.model import latent_sizes, make_generator, make_keys, make_shape, summary_of
from muserve_export.families.music.networks.keys import Keys
from muserve_export.families.music.networks.layers import BEATS_PER_BAR, Conditions, Shape
from muserve_export.families.music.networks.notes import HOLD_THRESHOLD, ONSET_THRESHOLD, play, weigh
from muserve_export.training.trained import TrainedModel
from muserve_server.model import LocalModel

__all__ = ["GeneratorGraph", "plan_bundle"]

_GOLDEN_TOLERANCE = 1e-3
_PARITY_TOLERANCE = 1e-3
_MAX_BARS = 32
_MAX_BATCH_ROWS = 32
_UNKNOWN_TEMPO_BPM = 120.0
_SAMPLE_BARS = 8
_LEADER = TRACKS.index("keys")
"""The track that is generated first and conditions the others; chosen by validation (docs/experiments.md)."""
_INT64 = manifest_pb2.DATA_TYPE_INT64


def plan_bundle(trained: TrainedModel[MusicConfig, MusicData]) -> BundlePlan:
    """Plans a bundle of the music task: the generator, and an accompanist if given tracks were trained."""
    config, data = trained.config, trained.data
    shape = make_shape(config, data)
    # Rounded to 16 bits, which halves the bundle. Figures and golden requests are those of the rounded weights.
    generator = trained.load(make_generator(config, shape), "generator").half().float()
    keys = make_keys(config, shape)
    tensors = _Tensors(shape, _latents(config, shape, keys))
    leader = _LEADER if config.given_share else None
    graphs = [tensors.graph("generator", GeneratorGraph(generator, keys, shape, leader))]
    if config.given_share:
        graphs.append(tensors.graph("accompanist", _AccompanistGraph(generator, keys, shape)))
    return BundlePlan(
        manifest=_manifest(config, shape, data), graphs=graphs, goldens=_goldens(config, data), samples=_samples
    )


class GeneratorGraph(nn.Module):
    """Noise and conditions to onsets and holds as `notes.weigh` weighs them, each [batch, bar, track, step, pitch]."""

    def __init__(self, generator: nn.Module, keys: Keys, shape: Shape, leader: int | None = None) -> None:
        """Takes the index of the track that is generated first and conditions the others; None for none."""
        super().__init__()
        self.generator = generator
        self.keys = keys
        self.bars = shape.bars
        self.leader = leader

    def forward(
        self, constant: Tensor, bars: Tensor, style: Tensor, tempo: Tensor, density: Tensor
    ) -> tuple[Tensor, Tensor]:
        """Returns onsets and holds."""
        noise, for_key = self.split_noise(constant)
        asked = (noise, bars, Conditions(style, tempo, density))
        logits = self.generator(*asked)
        if self.leader is not None:
            before, led, after = logits.split([self.leader, 1, logits.shape[1] - self.leader - 1], dim=1)
            played = play(led)
            heard = torch.cat([torch.zeros_like(before), played, torch.zeros_like(after)], dim=1)
            # Where the leader is silent, no track is given, and the rest is written as it was.
            others = self.generator(*asked, heard, heard.flatten(2).amax(2))
            logits = torch.cat([others[:, : self.leader], led, others[:, self.leader + 1 :]], dim=1)
        return self.finish(logits, self.keys.drawn(for_key))

    def split_noise(self, constant: Tensor) -> tuple[Tensor, Tensor]:
        """Splits noise into that of the generator and that of the key."""
        return constant[:, : -self.keys.noise_size], constant[:, -self.keys.noise_size :]

    def finish(self, logits: Tensor, key: Tensor) -> tuple[Tensor, Tensor]:
        """Converts logits in C, [batch, track, channel, step of the phrase, pitch], to outputs in their key."""
        by_bar = self.keys.from_c(weigh(logits), key).unflatten(
            3, (self.bars, -1)
        )  # [batch, track, channel, bar, step, pitch]
        onset, hold = by_bar.permute(2, 0, 3, 1, 4, 5).unbind(0)
        return onset, hold


class _AccompanistGraph(GeneratorGraph):
    """The same, conditioned on given tracks, which come first."""

    def forward(  # type: ignore[override] # it listens too
        self,
        given_onset: Tensor,
        given_hold: Tensor,
        given_tracks: Tensor,
        constant: Tensor,
        bars: Tensor,
        style: Tensor,
        tempo: Tensor,
        density: Tensor,
    ) -> tuple[Tensor, Tensor]:
        given = torch.stack([given_onset, given_hold], dim=1)  # [batch, channel, bar, track, step, pitch]
        rolls = given.permute(0, 3, 1, 2, 4, 5).flatten(3, 4)  # [batch, track, channel, step of the phrase, pitch]
        key = self.keys.find(rolls, given_tracks)
        in_c = self.keys.to_c(rolls, key)
        noise, _ = self.split_noise(constant)
        logits = self.generator(noise, bars, Conditions(style, tempo, density), in_c, given_tracks)
        return self.finish(logits, key)


class _Tensors:
    """Specifications of both graphs' tensors."""

    def __init__(self, shape: Shape, latents: tuple[int, int]) -> None:
        self.shape = shape
        self.roll = (shape.bars, shape.tracks, shape.steps // shape.bars, shape.pitches)
        self.latents = ((latents[0],), (shape.bars, latents[1]))

    def graph(self, role: str, module: nn.Module) -> GraphSource:
        """Describes a graph."""
        inputs = [
            tensor_spec("constant_latent", self.latents[0], "standard normal"),
            tensor_spec("bar_latents", self.latents[1], "standard normal"),
            tensor_spec("style", (), "style index", _INT64),
            tensor_spec("tempo", (), "quarter notes a minute; 0 for unknown"),
            tensor_spec("density", (), "0 to 1; -1 for open"),
        ]
        if isinstance(module, _AccompanistGraph):
            inputs = [
                tensor_spec("given_onset", self.roll, "0 or 1"),
                tensor_spec("given_hold", self.roll, "0 or 1"),
                tensor_spec("given_tracks", (self.shape.tracks,), "1 for tracks to listen to"),
                *inputs,
            ]
        return GraphSource(
            role=role,
            module=module.eval(),
            inputs=tuple(inputs),
            outputs=(tensor_spec("onset", self.roll, "0 to 1"), tensor_spec("hold", self.roll, "0 to 1")),
            draw=lambda rows, random: tuple(self._draw(spec, rows, random) for spec in inputs),
            max_batch_rows=_MAX_BATCH_ROWS,
            tolerance=_PARITY_TOLERANCE,
        )

    def _draw(self, spec: manifest_pb2.TensorSpec, rows: int, random: np.random.Generator) -> NDArray[Any]:
        """Draws typical values of an input."""
        shape = (rows, *spec.shape[1:])
        if spec.name == "style":
            return random.integers(0, self.shape.styles, rows)
        if spec.name == "tempo":
            drawn = random.uniform(60, 180, rows) * (random.random(rows) < 0.8)
        elif spec.name == "density":
            drawn = np.where(random.random(rows) < 0.5, -1.0, random.random(rows))
        elif spec.name.startswith("given"):
            drawn = (random.random(shape) < (0.4 if spec.name == "given_tracks" else 0.01)).astype(np.float64)
        else:
            drawn = random.standard_normal(shape)
        return drawn.astype(np.float32)


def _latents(config: MusicConfig, shape: Shape, keys: Keys) -> tuple[int, int]:
    """Returns the noise size of a piece, including that of its key at the end, and of a bar."""
    constant_size, bar_size = latent_sizes(config, shape)
    return constant_size + keys.noise_size, bar_size


def _manifest(config: MusicConfig, shape: Shape, data: MusicData) -> manifest_pb2.ModelManifest:
    constant_size, bar_size = _latents(config, shape, make_keys(config, shape))
    settings = manifest_pb2.MusicSettings(
        generator="generator",
        accompanist="accompanist" if config.given_share else "",
        bars=shape.bars,
        beats_per_bar=BEATS_PER_BAR,
        beat_unit=4,
        steps_per_bar=BEATS_PER_BAR * config.steps_per_beat,
        lowest_pitch=config.lowest_pitch,
        pitches=config.pitches,
        max_bars=max(_MAX_BARS, shape.bars),
        tracks=TRACK_SETTINGS,
        styles=[_style(data, index) for index in range(len(data.styles))],
        constant_latent_input="constant_latent",
        constant_latent_size=constant_size,
        bar_latents_input="bar_latents",
        bar_latent_size=bar_size,
        style_input="style",
        tempo_input="tempo",
        density_input="density",
        onset_output="onset",
        hold_output="hold",
        onset_threshold=ONSET_THRESHOLD,
        hold_threshold=HOLD_THRESHOLD,
    )
    return manifest_pb2.ModelManifest(
        task=common_pb2.TASK_MUSIC,
        description=f"Writes music for {', '.join(TRACKS)} in {len(data.styles)} styles: "
        f"a MuseGAN of {summary_of(config)}.",
        training_data=data.sources,
        licence="LicenseRef-owner" if config.has_own_data else "Apache-2.0",
        music=settings,
    )


def _style(data: MusicData, index: int) -> manifest_pb2.MusicStyleSettings:
    tempi = data.training.tempo_bpm[data.training.style == index]
    known = tempi[(tempi >= 40) & (tempi <= 240)]
    typical = round(float(np.median(known))) if len(known) else _UNKNOWN_TEMPO_BPM
    return manifest_pb2.MusicStyleSettings(
        name=data.styles[index],
        tempo_bpm=typical,
        lowest_tempo_bpm=round(float(known.min())) if len(known) else 0,
        highest_tempo_bpm=round(float(known.max())) if len(known) else 0,
        programs=data.programs[index],
    )


def _goldens(config: MusicConfig, data: MusicData) -> list[manifest_pb2.GoldenRequest]:
    return [
        manifest_pb2.GoldenRequest(
            name="piece",
            tolerance=_GOLDEN_TOLERANCE,
            generate_music=music_pb2.GenerateMusicRequest(
                style=data.styles[0], tempo_bpm=97.3, bars=config.bars, seed=0
            ),
        ),
        manifest_pb2.GoldenRequest(
            name="last",
            tolerance=_GOLDEN_TOLERANCE,
            generate_music=music_pb2.GenerateMusicRequest(
                style=data.styles[-1], bars=config.bars, seed=2**64 - 1, first_sample=2**53 - 1, density=0.8
            ),
        ),
    ]


async def _samples(model: LocalModel) -> Mapping[str, bytes]:
    """Generates a piece in each style with seed 0, uncurated: the MIDI file and its piano roll."""
    samples: dict[str, bytes] = {}
    settings = model.bundle.manifest.music
    for style in settings.styles:
        request = music_pb2.GenerateMusicRequest(
            style=style.name, bars=min(_SAMPLE_BARS, settings.max_bars), seed=0, piano_roll=True
        )
        piece = (await model.answer(request)).pieces[0]
        samples |= {f"{style.name}.mid": piece.midi, f"{style.name}.png": piece.piano_roll_png}
    return samples
