"""Chords to learn from: the notes that begin together in MIDI files.

Read from the `note_on` messages as mido gives them. It iterates over the tracks themselves: `MidiFile.play()`, which
tutorials use, waits as long as the music lasts.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from pathlib import Path

import mido
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.sources.folder import data_folder, describe_sources, find_files, split_names

__all__ = ["ChordData", "load_data"]

_DRUM_CHANNEL = 9


@dataclass(frozen=True)
class ChordData:
    """Chords of the files in the training part; the other parts are not read."""

    chords: NDArray[np.bool_]
    """Which pitches begin together: [chord, pitch]."""
    sources: tuple[manifest_pb2.TrainingData, ...]
    """The manifest's entries for the training data."""
    sha256: str
    """Digest of the chords."""

    def __len__(self) -> int:
        return len(self.chords)

    def batch(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Returns chords by index as float32 [chord, pitch]: 1 for a pitch that begins, -1 for the others."""
        return (torch.from_numpy(self.chords[indices.numpy()]).float() * 2 - 1,)


def load_data(config: MusicConfig) -> ChordData:
    """Reads the chords of the training part: `config.chords` of them, drawn by the split's seed.

    Raises:
        DataError: The data is missing, or no file has a note in range.
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
    """Returns the pitches that begin together, counted from the lowest; no chords for an unreadable file."""
    try:
        tracks = mido.MidiFile(path).tracks
    except (OSError, EOFError, ValueError, IndexError, KeyError):
        return []  # the other architectures report broken files
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
