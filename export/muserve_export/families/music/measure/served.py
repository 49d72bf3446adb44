"""Music through the served path: requests, MIDI bytes, and back onto the grid by what the server reads files with."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2, music_pb2
from muserve_export.families.music.measure.metrics import Flags, Integers, Layout, MusicPart, Segments
from muserve_export.families.music.measure.reference import MusicParts
from muserve_server.model import LocalModel
from muserve_server.tasks.music.midi_reader import read_song
from muserve_server.tasks.music.rolls import Grid, to_rolls
from muserve_server.tasks.music.song import MidiError, Song

__all__ = ["SEED", "DataView", "Generated", "MusicReader", "TracksView", "gather", "generate"]

SEED = 30_000
TEMPI, PER_TEMPO = 16, 16
_AT_ONCE = 8
_US_PER_MINUTE = 60e6
_TEMPO_RANGE_BPM = (40.0, 240.0)


@dataclass(frozen=True)
class MusicReader:
    """The grid and the tracks on which music is read, real as well as generated."""

    grid: Grid
    tracks: Sequence[manifest_pb2.MusicTrackSettings]
    """Those that both data and model have."""

    @property
    def layout(self) -> Layout:
        """What the axes of its rolls mean."""
        return Layout(tuple(track.role for track in self.tracks), self.grid.lowest_pitch, self.grid.beats_per_bar)

    def read(self, piece: music_pb2.MusicPiece, *, given: bool = True) -> tuple[Flags, Flags, Song | None]:
        """Reads a piece.

        Args:
            piece: As it was answered.
            given: Whether to read the caller's own tracks too.

        Returns:
            Onset and hold of the first bars, [bar, track, step, pitch], silent beyond the end, and the song; None for a
            piece without notes.
        """
        roles = {track.role: index for index, track in enumerate(self.tracks)}
        played = [track for track in piece.tracks if track.notes]
        shape = (self.grid.bars, len(self.tracks), self.grid.steps_per_bar, self.grid.pitches)
        onset, hold = np.zeros(shape, bool), np.zeros(shape, bool)
        try:
            song = read_song(piece.midi)
        except MidiError:
            if played:
                raise
            return onset, hold, None  # silence is an answer too
        chosen = [roles.get(track.role) if given or not track.given else None for track in played]
        rolls = to_rolls(song, chosen, self.grid, self.tracks)
        bars = min(self.grid.bars, len(rolls.onset))
        onset[:bars], hold[:bars] = rolls.onset[:bars], rolls.hold[:bars]
        return onset, hold, song


@dataclass(frozen=True)
class TracksView:
    """A part of the data with some of its tracks, for models that have no others; see `metrics.MusicPart`."""

    part: MusicPart
    tracks: Sequence[int]
    styled: bool = True
    """Whether styles are told apart."""

    @property
    def onset(self) -> Flags:
        """[bar, track, step, pitch]."""
        return self.part.onset[:, list(self.tracks)]

    @property
    def hold(self) -> Flags:
        """[bar, track, step, pitch]."""
        return self.part.hold[:, list(self.tracks)]

    @property
    def starts(self) -> Integers:
        """[segment]."""
        return self.part.starts

    @property
    def style(self) -> Integers:
        """[segment]; 0 for all if they are not told apart."""
        return self.part.style if self.styled else np.zeros_like(self.part.style)

    @property
    def piece(self) -> Integers:
        """[segment]."""
        return self.part.piece

    @property
    def tempo_bpm(self) -> NDArray[np.float32]:
        """[segment]."""
        return self.part.tempo_bpm

    def rolls(self, indices: Integers) -> tuple[Flags, Flags]:
        """Returns onset and hold of some segments, [segment, bar, track, step, pitch]."""
        onset, hold = self.part.rolls(indices)
        return onset[:, :, list(self.tracks)], hold[:, :, list(self.tracks)]


class DataView:
    """The data with the tracks and styles that a model has; see `evaluate_reference.MusicParts`."""

    def __init__(self, data: MusicParts, tracks: Sequence[int], *, styled: bool) -> None:
        self.training: MusicPart = TracksView(data.training, tracks, styled=styled)
        self.validation: MusicPart = TracksView(data.validation, tracks, styled=styled)
        self.test: MusicPart = TracksView(data.test, tracks, styled=styled)
        self.styles = data.styles if styled else ("all",)
        self.sha256 = data.sha256


@dataclass(frozen=True)
class Generated:
    """What a model wrote."""

    segments: Segments
    """Each its own piece; the tempo is the one that was asked for, 0 where none was."""
    tempo_exact: float
    """Share of the pieces whose file has the asked tempo, to the microsecond that a file can say; NaN if none was."""


async def generate(model: LocalModel, reader: MusicReader, data: DataView, *, seed: int = SEED) -> Generated:
    """Lets a model write 256 pieces a style: 16 at each of 16 tempi.

    The tempi are quantiles of the training segments' in that style, the middles of 16 equal parts, to a hundredth. A
    model without styles writes 512 pieces, at tempi of all styles. Where no tempo is known, none is asked for.
    """
    styled = bool(model.bundle.manifest.music.styles)
    each = PER_TEMPO if styled else 2 * PER_TEMPO
    requests = []
    for index, style in enumerate(data.styles):
        own = data.training.tempo_bpm[data.training.style == index]
        for number, tempo_bpm in enumerate(_tempi(own)):
            request = music_pb2.GenerateMusicRequest(style=style if styled else "", count=each, seed=seed)
            request.first_sample = (index * TEMPI + number) * each
            if tempo_bpm:
                request.tempo_bpm = tempo_bpm
            requests.append(request)
    read = await gather(model, requests, reader)
    asked = np.repeat([request.tempo_bpm for request in requests], each)
    written = [song.tempos[0, 1] if song is not None else -1 for _, _, song in read]
    right = np.array(written)[asked > 0] == np.rint(_US_PER_MINUTE / asked[asked > 0])
    silent = np.array(written)[asked > 0] < 0
    segments = Segments(
        np.stack([onset for onset, _, _ in read]),
        np.stack([hold for _, hold, _ in read]),
        np.repeat(np.arange(len(data.styles)), TEMPI * each),
        np.arange(len(read)),
        asked.astype(np.float32),
    )
    return Generated(segments, float(right[~silent].mean()) if (~silent).any() else np.nan)


async def gather(
    model: LocalModel,
    requests: Sequence[music_pb2.GenerateMusicRequest | music_pb2.AccompanyRequest],
    reader: MusicReader,
    *,
    given: bool = True,
) -> list[tuple[Flags, Flags, Song | None]]:
    """Asks several requests at once and reads the pieces of all, in order."""
    room = asyncio.Semaphore(_AT_ONCE)

    async def ask(
        request: music_pb2.GenerateMusicRequest | music_pb2.AccompanyRequest,
    ) -> list[tuple[Flags, Flags, Song | None]]:
        async with room:
            answer = await model.answer(request)
        return [reader.read(piece, given=given) for piece in answer.pieces]

    return [piece for pieces in await asyncio.gather(*map(ask, requests)) for piece in pieces]


def _tempi(known: NDArray[np.float32]) -> list[float]:
    known = known[known > 0]
    if not len(known):
        return [0.0] * TEMPI
    middles = (np.arange(TEMPI) + 0.5) / TEMPI
    return [round(float(tempo_bpm), 2) for tempo_bpm in np.clip(np.quantile(known, middles), *_TEMPO_RANGE_BPM)]
