"""Plans a bundle of the music task from the chord generator: pieces of one bar, one chord each."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from torch import Tensor, nn

from muserve.v1 import common_pb2, manifest_pb2, music_pb2
from muserve_export.bundling import BundlePlan, GraphSource, tensor_spec
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.networks.layers import BEATS_PER_BAR
from muserve_export.families.music_tutorial.data import ChordData
from muserve_export.families.music_tutorial.model import DenseGenerator
from muserve_export.training.trained import TrainedModel
from muserve_server.model import LocalModel

__all__ = ["plan_bundle"]

_GOLDEN_TOLERANCE = 1e-3
_PARITY_TOLERANCE = 1e-3


def plan_bundle(trained: TrainedModel[MusicConfig, ChordData]) -> BundlePlan:
    """Plans a bundle of the music task: the generator alone."""
    generator = trained.load(DenseGenerator(trained.config), "generator")
    request = music_pb2.GenerateMusicRequest(count=16, seed=0)
    return BundlePlan(
        manifest=_manifest(trained.config, trained.data),
        graphs=[_graph(trained.config, generator)],
        goldens=[manifest_pb2.GoldenRequest(name="chords", tolerance=_GOLDEN_TOLERANCE, generate_music=request)],
        samples=_samples,
    )


class _ChordGraph(nn.Module):
    """Noise to the onsets of one step, [batch, bar, track, step, pitch]."""

    def __init__(self, generator: nn.Module) -> None:
        super().__init__()
        self.generator = generator

    def forward(self, latent: Tensor) -> Tensor:
        onset: Tensor = self.generator(latent)[:, None, None, None]
        return onset


def _manifest(config: MusicConfig, data: ChordData) -> manifest_pb2.ModelManifest:
    keys = manifest_pb2.MusicTrackSettings(role="keys", name="Keys", velocity=84, off_beat_velocity=84)
    settings = manifest_pb2.MusicSettings(
        generator="generator",
        bars=1,
        beats_per_bar=BEATS_PER_BAR,
        beat_unit=4,
        steps_per_bar=1,
        lowest_pitch=config.lowest_pitch,
        pitches=config.pitches,
        max_bars=1,
        tracks=[keys],
        constant_latent_input="latent",
        constant_latent_size=config.constant_latent_size,
        onset_output="onset",
    )
    return manifest_pb2.ModelManifest(
        task=common_pb2.TASK_MUSIC,
        description="Draws one chord a sample: the dense GAN of many tutorials.",
        training_data=data.sources,
        licence="LicenseRef-owner" if config.has_own_data else "Apache-2.0",
        music=settings,
    )


def _graph(config: MusicConfig, generator: nn.Module) -> GraphSource:
    size = config.constant_latent_size
    return GraphSource(
        role="generator",
        module=_ChordGraph(generator).eval(),
        inputs=(tensor_spec("latent", (size,), "standard normal"),),
        outputs=(tensor_spec("onset", (1, 1, 1, config.pitches), "[-1, 1]"),),
        draw=lambda rows, random: (random.standard_normal((rows, size), dtype=np.float32),),
        tolerance=_PARITY_TOLERANCE,
    )


async def _samples(model: LocalModel) -> Mapping[str, bytes]:
    """Writes the chords of seed 0, uncurated."""
    answer = await model.answer(music_pb2.GenerateMusicRequest(count=8, seed=0, piano_roll=True))
    files = {f"chord-{piece.sample}.mid": piece.midi for piece in answer.pieces}
    return files | {f"chord-{piece.sample}.png": piece.piano_roll_png for piece in answer.pieces}
