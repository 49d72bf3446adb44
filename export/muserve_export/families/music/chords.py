"""The tutorial's own GAN: dense networks that draw one chord a sample, from the notes that begin in MIDI files.

What many tutorials publish: 100 → 256 → 512 → 1024 → 88 with ReLU and tanh against 88 → 1024 → 512 → 256 → 1 with ReLU
and a sigmoid, binary cross-entropy, Adam at 2e-4, 100 epochs, fed by the `note_on` messages that mido reads. It
iterates over the tracks themselves: `MidiFile.play()`, which tutorials take, waits as long as the music lasts.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import mido
import numpy as np
import torch
from lightning_fabric import Fabric
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.functional import binary_cross_entropy_with_logits

from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.sources.folder import data_folder, describe_sources, find_files, split_names

__all__ = ["ChordData", "ChordLearner", "DenseDiscriminator", "DenseGenerator", "load_chords"]

_DRUM_CHANNEL = 9


@dataclass(frozen=True)
class ChordData:
    """Chords of the training part's files; the others are not looked at."""

    chords: NDArray[np.bool_]
    """Which pitches begin together: [chord, pitch]."""
    sources: tuple[manifest_pb2.TrainingData, ...]
    """What the manifest says of it."""
    sha256: str
    """Digest of the chords."""

    def __len__(self) -> int:
        return len(self.chords)

    def batch(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Returns chords by index as float32 [chord, pitch], 1 for a pitch that begins and -1 for the others."""
        return (torch.from_numpy(self.chords[indices.numpy()]).float() * 2 - 1,)


class ChordLearner:
    """The two dense networks and what one step does with them; see `training.loop.Learner`."""

    def __init__(self, fabric: Fabric, config: MusicConfig) -> None:
        torch.manual_seed(config.seed)
        self._fabric = fabric
        self._config = config
        generator, discriminator = DenseGenerator(config), DenseDiscriminator(config)
        betas = (config.beta1, config.beta2)
        self._generator, self._generator_optimizer = fabric.setup(
            generator, torch.optim.Adam(generator.parameters(), lr=config.learning_rate, betas=betas)
        )
        self._discriminator, self._discriminator_optimizer = fabric.setup(
            discriminator,
            torch.optim.Adam(discriminator.parameters(), lr=config.discriminator_learning_rate, betas=betas),
        )

    def modules(self) -> Mapping[str, Any]:
        """Networks by name."""
        return {"generator": self._generator, "discriminator": self._discriminator}

    def optimizers(self) -> Mapping[str, Any]:
        """Optimizers by name."""
        return {
            "generator_optimizer": self._generator_optimizer,
            "discriminator_optimizer": self._discriminator_optimizer,
        }

    def step(self, batch: tuple[Tensor, ...], step: int, steps: int) -> Mapping[str, Tensor]:  # noqa: ARG002
        """Teaches the discriminator one batch, then the generator as many samples."""
        (real,) = batch
        drawn = self._generator(torch.randn(len(real), self._config.constant_latent_size, device=self._fabric.device))
        on_real, on_drawn = self._discriminator(real), self._discriminator(drawn.detach())
        discriminator_loss = _cross_entropy(on_real, real=True) + _cross_entropy(on_drawn, real=False)
        self._apply(discriminator_loss, self._discriminator_optimizer)
        # The discriminator only passes gradients on: its own are neither kept nor exchanged between processes.
        self._discriminator.requires_grad_(requires_grad=False)
        with self._fabric.no_backward_sync(self._discriminator):
            generator_loss = _cross_entropy(self._discriminator(drawn), real=True)
            self._apply(generator_loss, self._generator_optimizer)
        self._discriminator.requires_grad_(requires_grad=True)
        return {"discriminator_loss": discriminator_loss, "generator_loss": generator_loss}

    def sheet(self) -> NDArray[np.uint8] | None:
        """Draws 64 chords side by side, the highest pitch on top."""
        latents = torch.randn(64, self._config.constant_latent_size, generator=torch.Generator().manual_seed(0))
        generator: nn.Module = self._generator.module
        with torch.no_grad():
            chords = generator(self._fabric.to_device(latents)).cpu().numpy()
        ink = np.where(chords.T[::-1] > 0, 0, 255).astype(np.uint8)
        return np.kron(ink, np.ones((4, 8), np.uint8))[..., None]

    def _apply(self, loss: Tensor, optimizer: Any) -> None:
        optimizer.zero_grad()
        self._fabric.backward(loss)
        optimizer.step()


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


def load_chords(config: MusicConfig) -> ChordData:
    """Reads the chords of the training part: `config.chords` of them, drawn by the split's seed.

    Raises:
        DataError: The data is missing, or no file has a note.
    """
    folder = data_folder(config)
    files, _ = find_files(folder)
    styles: dict[str, set[int]] = {}
    for path, style in files:
        styles.setdefault(path.stem, set()).add(style)
    part_of = split_names(styles, config.split_seed)
    chords: list[list[int]] = []
    for path, _ in files:
        if part_of[path.stem] == "training":
            chords += _read(path, config)
    if not chords:
        raise DataError(f"{folder} has no file with a note on the keys {config.lowest_pitch} and above")
    drawn = np.random.default_rng(config.split_seed).permutation(len(chords))[: config.chords]
    rolls = np.zeros((len(drawn), config.pitches), bool)
    for row, index in enumerate(drawn.tolist()):
        rolls[row, chords[index]] = True
    split = f"{len(rolls):,} of the {len(chords):,} chords of the training part, seed {config.split_seed}"
    return ChordData(rolls, describe_sources(folder, split), hashlib.sha256(np.packbits(rolls).tobytes()).hexdigest())


def _read(path: Path, config: MusicConfig) -> list[list[int]]:
    """Returns the pitches that begin together, counted from the lowest; none of a file that cannot be read."""
    try:
        tracks = mido.MidiFile(path).tracks
    except (OSError, EOFError, ValueError, IndexError, KeyError):
        return []  # the other recipes say which files are broken
    chords: list[list[int]] = []
    for track in tracks:
        together: list[int] = []
        for message in track:
            if message.time and together:
                chords.append(together)
                together = []
            if message.type == "note_on" and message.velocity and message.channel != _DRUM_CHANNEL:
                pitch = message.note - config.lowest_pitch
                if 0 <= pitch < config.pitches:
                    together.append(pitch)
        if together:
            chords.append(together)
    return chords


def _cross_entropy(logits: Tensor, *, real: bool) -> Tensor:
    return binary_cross_entropy_with_logits(logits, torch.full_like(logits, float(real)))


def _dense(sizes: tuple[int, ...]) -> list[nn.Module]:
    layers: list[nn.Module] = []
    for before, after in pairwise(sizes):
        layers += [nn.Linear(before, after), nn.ReLU()]
    return layers
