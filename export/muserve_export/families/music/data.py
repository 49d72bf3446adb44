"""MIDI files as piano rolls: a folder tree with a folder per style.

A file's bars in 4/4 become rolls of onsets and holds on the codec's grid; tempo, which a roll has no room for, is kept
beside them. Files of the same name in several folders are one piece (a chart that was rendered in several styles), and
a piece is in one part of the split only.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.sources import collect_music as collect
from muserve_export.families.music.sources.folder import data_folder, describe_sources, find_files, split_names
from muserve_server.tasks.music.midi_reader import read_song
from muserve_server.tasks.music.roles import guess_roles
from muserve_server.tasks.music.rolls import Grid, Rolls, to_rolls
from muserve_server.tasks.music.song import MidiError

__all__ = [
    "DRUMS",
    "TRACKS",
    "TRACK_SETTINGS",
    "MusicData",
    "MusicSet",
    "as_rolls",
    "collect",
    "load_data",
    "make_grid",
]

TRACKS = ("drums", "keys", "guitar", "bass", "strings")
"""The roles of the tracks, in the order of the graphs."""
DRUMS = TRACKS.index("drums")
TRACK_SETTINGS = (
    manifest_pb2.MusicTrackSettings(
        role="drums", name="Drums", drums=True, velocity=100, off_beat_velocity=84, min_note_steps=1
    ),
    manifest_pb2.MusicTrackSettings(role="keys", name="Keys", program=0, velocity=84, off_beat_velocity=76),
    manifest_pb2.MusicTrackSettings(role="guitar", name="Guitar", program=25, velocity=84, off_beat_velocity=76),
    manifest_pb2.MusicTrackSettings(role="bass", name="Bass", program=33, velocity=96, off_beat_velocity=88),
    manifest_pb2.MusicTrackSettings(role="strings", name="Strings", program=48, velocity=80, off_beat_velocity=76),
)
"""Default instrument and velocities of each track."""


@dataclass(frozen=True)
class MusicSet:
    """Segments of a few bars, held in memory as the bars of their pieces."""

    onset: NDArray[np.bool_]
    """Where a note begins: [bar, track, step, pitch]."""
    hold: NDArray[np.bool_]
    """Where a note that began before goes on: [bar, track, step, pitch]."""
    starts: NDArray[np.int64]
    """First bar of each segment, [segment]."""
    bars: int
    """Bars of a segment."""
    style: NDArray[np.int64]
    """Index of each segment's style, [segment]."""
    piece: NDArray[np.int64]
    """Index of each segment's piece among `piece_names`, [segment]."""
    piece_names: tuple[str, ...]
    """The pieces: a chart in two styles is one piece."""
    tempo_bpm: NDArray[np.float32]
    """Quarter notes a minute at the beginning of each segment, 0 for unknown, [segment]."""
    density: NDArray[np.float32]
    """Share of the style's training segments that are sparser, 0 to 1, [segment]."""

    def __len__(self) -> int:
        return len(self.starts)

    def rolls(self, indices: NDArray[np.int64]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Returns onsets and holds of segments, each bool [segment, bar, track, step, pitch]."""
        bars = self.starts[indices][:, None] + np.arange(self.bars)
        return self.onset[bars], self.hold[bars]

    def batch(self, indices: Tensor) -> tuple[Tensor, ...]:
        """Returns segments by index.

        Returns:
            Rolls, float32 [segment, track, channel, step, pitch]; style, int64 [segment]; tempo and density, float32
            [segment].
        """
        chosen = indices.numpy()
        rolls = as_rolls(*self.rolls(chosen))
        return (
            torch.from_numpy(rolls).float(),
            torch.from_numpy(self.style[chosen]),
            torch.from_numpy(self.tempo_bpm[chosen]),
            torch.from_numpy(self.density[chosen]),
        )


@dataclass(frozen=True)
class MusicData:
    """A data set in three parts that share no piece, and no segment either, in whatever key."""

    training: MusicSet
    """The training part."""
    validation: MusicSet
    """For choosing between models."""
    test: MusicSet
    """For reporting."""
    styles: tuple[str, ...]
    """Names of the styles, in the order of their index."""
    sources: tuple[manifest_pb2.TrainingData, ...]
    """The manifest's entries for the training data."""
    programs: NDArray[np.int64]
    """The General MIDI program that each style's training pieces use most for each track, [style, track]."""
    sha256: str
    """Digest of all files and the split: other data, or the same split otherwise, has another one."""
    skipped: Mapping[str, str]
    """Files that were skipped, with the reason."""


@dataclass(frozen=True)
class _Piece:
    """One file."""

    name: str
    style: int
    rolls: Rolls
    programs: tuple[int, ...]
    """Program of each track; -1 where nothing plays."""


def load_data(config: MusicConfig) -> MusicData:
    """Loads the data set that a configuration names.

    Raises:
        DataError: It is missing, or holds no music that can be learnt from.
    """
    folder = data_folder(config)
    files, styles = find_files(folder)
    digest = hashlib.sha256(f"{config.split_seed}\0{config.bars}\0{config.steps_per_beat}".encode())
    pieces: list[_Piece] = []
    skipped: dict[str, str] = {}
    for path, style in files:
        content = path.read_bytes()
        name = path.relative_to(folder).as_posix()
        digest.update(f"\0{name}\0{hashlib.sha256(content).hexdigest()}".encode())
        try:
            pieces.append(_read(path, content, style, config))
        except (MidiError, DataError) as error:
            skipped[name] = str(error)
    found: dict[str, set[int]] = {}
    for piece in pieces:
        found.setdefault(piece.name, set()).add(piece.style)
    part_of = split_names(found, config.split_seed)
    parts: dict[str, list[_Piece]] = {"training": [], "validation": [], "test": []}
    for piece in pieces:
        parts[part_of[piece.name]].append(piece)
    used = {style for part in parts.values() for style in {piece.style for piece in part}}
    if not parts["training"]:
        reasons = "; ".join(f"{name}: {why}" for name, why in list(skipped.items())[:3])
        raise DataError(f"{folder} has no file with {config.bars} bars of 4/4 in a row to learn from; {reasons}")
    if len(used) < len(styles):
        missing = ", ".join(style for index, style in enumerate(styles) if index not in used)
        raise DataError(f"{folder}: no file of {missing} can be used; repair or remove the folder. {skipped}")
    sets = _make_sets(parts, config)
    return MusicData(
        training=sets["training"],
        validation=sets["validation"],
        test=sets["test"],
        styles=styles,
        sources=describe_sources(folder, _split_described(sets)),
        programs=_programs(parts["training"], len(styles)),
        sha256=digest.hexdigest(),
        skipped=skipped,
    )


def make_grid(config: MusicConfig) -> Grid:
    """Returns the steps and pitches of a configuration."""
    return Grid(
        bars=config.bars,
        beats_per_bar=4,
        beat_unit=4,
        steps_per_bar=4 * config.steps_per_beat,
        lowest_pitch=config.lowest_pitch,
        pitches=config.pitches,
    )


def as_rolls(onset: NDArray[np.bool_], hold: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Joins onsets and holds [segment, bar, track, step, pitch]: [segment, track, channel, step of all bars, pitch]."""
    joined = np.stack([onset, hold], axis=1)  # [segment, channel, bar, track, step, pitch]
    segments, channels, bars, tracks, steps, pitches = joined.shape
    return joined.transpose(0, 3, 1, 2, 4, 5).reshape(segments, tracks, channels, bars * steps, pitches)


def _read(path: Path, content: bytes, style: int, config: MusicConfig) -> _Piece:
    song = read_song(content)
    roles = guess_roles(song, TRACKS)
    rolls = to_rolls(song, roles, make_grid(config), TRACK_SETTINGS)
    programs = tuple(
        next((track.program for track, role in zip(song.tracks, roles, strict=True) if role == index), -1)
        for index in range(len(TRACKS))
    )
    piece = _Piece(path.stem, style, rolls, programs)
    if not len(_starts(piece, config)):
        raise DataError(f"no {config.bars} bars of 4/4 in a row with {config.min_tracks} or more tracks sounding")
    return piece


def _starts(piece: _Piece, config: MusicConfig) -> NDArray[np.int64]:
    """Returns the first bar of each segment: bars of 4/4 in a row in which enough tracks sound."""
    rolls, bars = piece.rolls, config.bars
    if len(rolls.onset) < bars:
        return np.zeros(0, np.int64)
    sounds = rolls.onset.any(axis=(2, 3))  # [bar, track]
    windows = np.lib.stride_tricks.sliding_window_view
    whole = windows(rolls.whole, bars).all(axis=1)
    enough = windows(sounds, bars, axis=0).any(axis=2).sum(axis=1) >= config.min_tracks
    return np.flatnonzero(whole & enough)


def _make_sets(parts: Mapping[str, Sequence[_Piece]], config: MusicConfig) -> dict[str, MusicSet]:
    sets: dict[str, MusicSet] = {}
    levels: dict[int, NDArray[np.float64]] = {}
    seen: set[bytes] = set()
    for name in ("training", "validation", "test"):
        made = _make_set(parts[name], config)
        keys = _keys(made)
        if name == "training":
            seen = set(keys)
        else:
            made = _select(made, np.array([key not in seen for key in keys], bool))
        busy = _onsets_per_bar(made)
        if name == "training":
            levels = {style: np.sort(busy[made.style == style]) for style in np.unique(made.style).tolist()}
        density = np.array(
            [_rank(levels.get(style), value) for style, value in zip(made.style.tolist(), busy, strict=True)],
            np.float32,
        )
        sets[name] = _replace(made, density=density)
    return sets


def _make_set(pieces: Sequence[_Piece], config: MusicConfig) -> MusicSet:
    names = tuple(dict.fromkeys(piece.name for piece in pieces))
    index = {name: number for number, name in enumerate(names)}
    shape = (0, len(TRACKS), 4 * config.steps_per_beat, config.pitches)
    onset, hold = [np.zeros(shape, bool)], [np.zeros(shape, bool)]
    starts, style, piece_index, tempo = [], [], [], []
    first = 0
    for piece in pieces:
        own = _starts(piece, config)
        onset.append(piece.rolls.onset)
        hold.append(piece.rolls.hold)
        starts.append(own + first)
        style.append(np.full(len(own), piece.style))
        piece_index.append(np.full(len(own), index[piece.name]))
        tempo.append(piece.rolls.tempo_bpm[own])
        first += len(piece.rolls.onset)
    empty = np.zeros(0, np.int64)
    return MusicSet(
        onset=np.concatenate(onset),
        hold=np.concatenate(hold),
        starts=np.concatenate([empty, *starts]).astype(np.int64),
        bars=config.bars,
        style=np.concatenate([empty, *style]).astype(np.int64),
        piece=np.concatenate([empty, *piece_index]).astype(np.int64),
        piece_names=names,
        tempo_bpm=np.concatenate([empty, *tempo]).astype(np.float32),
        density=np.zeros(sum(map(len, starts)), np.float32),
    )


def _replace(made: MusicSet, **changes: Any) -> MusicSet:
    return MusicSet(**{**made.__dict__, **changes})


def _select(made: MusicSet, chosen: NDArray[np.bool_]) -> MusicSet:
    fields = ("starts", "style", "piece", "tempo_bpm", "density")
    return _replace(made, **{name: getattr(made, name)[chosen] for name in fields})


def _keys(made: MusicSet) -> list[bytes]:
    """Returns a digest of each segment that is the same in every key."""
    keys = []
    for index in range(len(made)):
        rolls = as_rolls(*made.rolls(np.array([index])))[0]
        pitched = np.arange(len(rolls)) != DRUMS
        used = np.flatnonzero(rolls[pitched].any(axis=(0, 1, 2)))
        lowest = int(used[0]) if len(used) else 0
        digest = hashlib.sha256(np.packbits(rolls[DRUMS]).tobytes())
        digest.update(np.packbits(np.roll(rolls[pitched], -lowest, axis=-1)).tobytes())
        keys.append(digest.digest())
    return keys


def _onsets_per_bar(made: MusicSet) -> NDArray[np.float64]:
    per_bar = made.onset.sum(axis=(1, 2, 3), dtype=np.int64)
    sums = np.concatenate([[0], np.cumsum(per_bar)])
    result: NDArray[np.float64] = (sums[made.starts + made.bars] - sums[made.starts]) / made.bars
    return result


def _rank(levels: NDArray[np.float64] | None, value: float) -> float:
    if levels is None:
        return 0.5
    low, high = np.searchsorted(levels, [value, np.nextafter(value, np.inf)])
    return float((low + high) / 2 / len(levels))


def _programs(pieces: Sequence[_Piece], styles: int) -> NDArray[np.int64]:
    """Returns the commonest program of each style and track; where a style has none, the commonest of all."""
    counts = np.zeros((styles, len(TRACKS), 128), np.int64)
    for piece in pieces:
        for track, program in enumerate(piece.programs):
            if program >= 0:
                counts[piece.style, track, program] += 1
    silent = counts.sum(axis=2, keepdims=True) == 0
    result: NDArray[np.int64] = np.where(silent, counts.sum(axis=0), counts).argmax(axis=2)
    return result


def _split_described(sets: Mapping[str, MusicSet]) -> str:
    return "split by piece: " + ", ".join(
        f"{len(np.unique(made.piece))} pieces, {len(made):,} segments for {name}" for name, made in sets.items()
    )
