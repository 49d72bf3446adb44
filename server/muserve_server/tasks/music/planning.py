"""Checks music requests and fills in defaults."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import count as count_up

import numpy as np
from numpy.typing import NDArray

from muserve.bundle import Bundle
from muserve.configuration import nearest
from muserve.v1 import music_pb2
from muserve_server.tasks import noise
from muserve_server.tasks.music.grid import Grid
from muserve_server.tasks.music.limits import MusicLimits
from muserve_server.tasks.music.listening import Given, listen
from muserve_server.tasks.music.picture import picture_size
from muserve_server.tasks.music.song import DEFAULT_TEMPO_BPM, DRUM_CHANNEL
from muserve_server.tasks.music.validate import TEMPO_RANGE_BPM, TICKS_PER_BEAT
from muserve_server.tasks.requests import Violations, refuse, seed_of

__all__ = ["OPEN_DENSITY", "Plan", "Planner"]

OPEN_DENSITY = -1.0
"""Value of the density input for requests without a density."""

Request = music_pb2.GenerateMusicRequest | music_pb2.AccompanyRequest


@dataclass(frozen=True)
class Plan:
    """A checked request."""

    graph: str
    """Role of the graph to run."""
    count: int
    """Number of pieces."""
    seed: int
    """0 up to 2^64 - 1."""
    first_sample: int
    """Index of the first piece in the seed's series."""
    bars: int
    """Bars of each piece."""
    phrases: int
    """Phrases of each piece, one run of the graph each; surplus bars are cut off."""
    styles: NDArray[np.int64] | None
    """[sample]: indices; None for a model without styles."""
    tempo_bpm: NDArray[np.float64]
    """[sample]: tempo at the beginning."""
    heard_tempo_bpm: NDArray[np.float32]
    """[sample, phrase]: tempo input of the graph; 0 for unknown."""
    density: float
    """0 up to 1, or `OPEN_DENSITY`."""
    tracks: tuple[int, ...]
    """Indices of the model's tracks to generate."""
    channels: tuple[int, ...]
    """Their channels in the file."""
    ticks_per_beat: int
    """Ticks of a quarter note in the file."""
    step_ticks: float
    """Ticks of a step."""
    bar_starts: NDArray[np.float64]
    """[bar + 1], in ticks; the last is the end."""
    piano_roll: bool
    """Whether a piano roll of each piece is drawn."""
    given: Given | None
    """The caller's music to accompany; None for an unconditional piece."""


class Planner:
    """Checks the requests for one bundle."""

    def __init__(self, bundle: Bundle, limits: MusicLimits) -> None:
        self._bundle = bundle
        self._limits = limits
        self._settings = bundle.manifest.music
        self._grid = Grid.of(self._settings)
        self._roles = [track.role for track in self._settings.tracks]
        self._styles = [style.name for style in self._settings.styles]

    def generate(self, request: music_pb2.GenerateMusicRequest) -> Plan:
        """Checks a request for pieces.

        Raises:
            InvalidRequestError: Names each wrong field.
        """
        violations = Violations()
        count = self._count(request, violations)
        style = self._style(request.style, violations)
        tempo_bpm = request.tempo_bpm if request.HasField("tempo_bpm") else None
        lowest, highest = TEMPO_RANGE_BPM
        if tempo_bpm is not None and not lowest <= tempo_bpm <= highest:
            violations.refuse("tempo_bpm", f"is {tempo_bpm:g}; allowed: {lowest:g} up to {highest:g}")
        bars = self._bars(request, violations)
        tracks = self._tracks(request.tracks, violations) or tuple(range(len(self._roles)))
        density = self._density(request, violations)
        if not violations:
            self._check_size(request, count, bars, [self._settings.tracks[index].drums for index in tracks], violations)
        violations.check()
        seed = seed_of(request)
        styles = self._draw_styles(style, seed, request.first_sample, count)
        tempos = self._tempos(styles, count) if tempo_bpm is None else np.full(count, tempo_bpm)
        phrases = self._phrases(bars)
        return Plan(
            graph=self._settings.generator,
            count=count,
            seed=seed,
            first_sample=request.first_sample,
            bars=bars,
            phrases=phrases,
            styles=styles,
            tempo_bpm=tempos,
            heard_tempo_bpm=np.repeat(tempos.astype(np.float32)[:, None], phrases, axis=1),
            density=density,
            tracks=tracks,
            channels=self._channels(tracks),
            ticks_per_beat=TICKS_PER_BEAT,
            step_ticks=self._grid.step_ticks(TICKS_PER_BEAT),
            bar_starts=self._grid.bar_ticks(TICKS_PER_BEAT) * np.arange(bars + 1, dtype=np.float64),
            piano_roll=request.piano_roll,
            given=None,
        )

    def accompany(self, request: music_pb2.AccompanyRequest) -> Plan:
        """Checks a request for accompaniments and reads its file.

        Raises:
            InvalidRequestError: Names each wrong field.
        """
        if not self._settings.accompanist:
            text = f"{self._bundle} has no accompanist; choose another model, or call GenerateMusic"
            refuse("model", text)
        violations = Violations()
        count = self._count(request, violations)
        style = self._style(request.style, violations)
        tracks = self._tracks(request.tracks, violations)
        density = self._density(request, violations)
        if not violations:
            self._check_room(count, len(request.midi), violations)
        given = None if violations else listen(request, tracks, self._settings, self._limits, violations)
        if given and not violations:
            # An answer repeats a track's name for each of its channels.
            names = sum(len(track.name.encode()) for track in given.song.tracks)
            self._check_room(count, len(request.midi) + names, violations)
            bars = len(given.rolls.whole)
            drums = [track.drums for track in given.song.tracks]
            drums += [self._settings.tracks[index].drums for index in given.tracks]
            self._check_size(request, count, bars, drums, violations)
        if violations or given is None:
            violations.fail()
        seed = seed_of(request)
        phrases = self._phrases(bars)
        heard = given.rolls.tempo_bpm[:: self._settings.bars]
        heard = np.where(heard > 0, np.clip(heard, *TEMPO_RANGE_BPM), heard).astype(np.float32)
        return Plan(
            graph=self._settings.accompanist,
            count=count,
            seed=seed,
            first_sample=request.first_sample,
            bars=bars,
            phrases=phrases,
            styles=self._draw_styles(style, seed, request.first_sample, count),
            tempo_bpm=np.full(count, given.song.tempo_bpm),
            heard_tempo_bpm=np.tile(heard, (count, 1)),
            density=density,
            tracks=given.tracks,
            channels=given.channels,
            ticks_per_beat=given.song.ticks_per_beat,
            step_ticks=self._grid.step_ticks(given.song.ticks_per_beat),
            bar_starts=given.rolls.bars.starts,
            piano_roll=request.piano_roll,
            given=given,
        )

    def _phrases(self, bars: int) -> int:
        return -(-bars // self._settings.bars)

    def _count(self, request: Request, violations: Violations) -> int:
        count = violations.count(request, default=1, maximum=self._limits.max_samples_per_call)
        violations.first_sample(request, count)
        return count

    def _style(self, style: str, violations: Violations) -> int | None:
        if not style:
            return None
        if not self._styles:
            violations.refuse("style", f"model {self._bundle} has no styles; leave it out")
        elif style not in self._styles:
            violations.refuse("style", f"is {style!r}; {nearest(style, self._styles)}")
        else:
            return self._styles.index(style)
        return None

    def _bars(self, request: music_pb2.GenerateMusicRequest, violations: Violations) -> int:
        max_bars = self._settings.max_bars
        bars = request.bars if request.HasField("bars") else min(self._settings.bars, max_bars)
        if not 1 <= bars <= max_bars:
            violations.refuse("bars", f"is {bars}; allowed by {self._bundle}: 1 up to {max_bars}")
        return bars

    def _tracks(self, roles: Sequence[str], violations: Violations) -> tuple[int, ...]:
        """Returns the model's tracks of these roles, in the model's order."""
        indices: list[int] = []
        for position, role in enumerate(roles):
            if violations.is_full:  # the error names no more
                break
            if role not in self._roles:
                violations.refuse(f"tracks[{position}]", f"is {role!r}; {nearest(role, self._roles)}")
            elif self._roles.index(role) in indices:
                violations.refuse(f"tracks[{position}]", f"is {role!r} again; name each role once")
            else:
                indices.append(self._roles.index(role))
        return tuple(sorted(indices))

    def _channels(self, tracks: Sequence[int]) -> tuple[int, ...]:
        """Returns the channel of each track: that of drums, or the next of the others."""
        others = (channel for channel in count_up() if channel != DRUM_CHANNEL)
        return tuple(DRUM_CHANNEL if self._settings.tracks[index].drums else next(others) for index in tracks)

    def _density(self, request: Request, violations: Violations) -> float:
        if not request.HasField("density"):
            return OPEN_DENSITY
        if not self._settings.density_input:
            violations.refuse("density", f"model {self._bundle} has no density input; leave it out")
        elif not 0.0 <= request.density <= 1.0:
            violations.refuse("density", f"is {request.density:g}; allowed: 0 up to 1")
        return request.density

    def _check_room(self, count: int, size: int, violations: Violations) -> None:
        """Refuses an answer over the message limit: it repeats the caller's file, of `size` bytes, `count` times."""
        room = self._limits.max_answer_bytes
        if count * size > room:
            fit = f"{room // size} times into an answer of {room} bytes"
            violations.refuse("count", f"is {count}; the file of {size} bytes fits {fit}")

    def _check_size(
        self, request: Request, count: int, bars: int, drums: Sequence[bool], violations: Violations
    ) -> None:
        """Refuses requests that need too much memory, before it is allocated."""
        generated, max_bars = self._phrases(bars) * self._settings.bars, self._limits.max_bars_per_call
        if generated > max_bars:
            text = f"has {bars} bars, in whole phrases {generated}; allowed: up to {max_bars} a call"
            violations.refuse("midi" if isinstance(request, music_pb2.AccompanyRequest) else "bars", text)
        elif count * generated > max_bars:
            text = f"is {count}; allowed: up to {max_bars // generated} pieces of {bars} bars a call"
            violations.refuse("count", text)
        width, height = picture_size(bars, drums)
        max_pixels = self._limits.max_pixels_per_call
        if request.piano_roll and count * width * height > max_pixels:
            fit = max_pixels // (width * height)
            allowed = f"up to {fit} a call" if fit else f"{max_pixels} pixels a call; leave it out"
            text = f"would be {count} pictures of {width} × {height} pixels; allowed: {allowed}"
            violations.refuse("piano_roll", text)

    def _draw_styles(self, style: int | None, seed: int, first_sample: int, count: int) -> NDArray[np.int64] | None:
        if not self._styles:
            return None
        if style is None:
            return noise.integers(seed, first_sample, count, len(self._styles))
        return np.full(count, style, dtype=np.int64)

    def _tempos(self, styles: NDArray[np.int64] | None, count: int) -> NDArray[np.float64]:
        if styles is None:
            return np.full(count, DEFAULT_TEMPO_BPM)
        return np.array([style.tempo_bpm for style in self._settings.styles])[styles]
