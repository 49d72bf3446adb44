"""Reads the caller's MIDI file for the accompanist: its tracks get roles, its notes become piano rolls."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from muserve.configuration import nearest
from muserve.v1 import manifest_pb2, music_pb2
from muserve_server.tasks.music.events import MidiFile, split_chunks
from muserve_server.tasks.music.grid import Grid
from muserve_server.tasks.music.limits import MusicLimits
from muserve_server.tasks.music.midi_reader import MAX_TRACKS, to_song
from muserve_server.tasks.music.midi_writer import MAX_TICK, KeptFile, free_channels, keep
from muserve_server.tasks.music.roles import guess_roles
from muserve_server.tasks.music.rolls import Rolls, to_rolls
from muserve_server.tasks.music.song import DRUM_CHANNEL, MidiError, Song
from muserve_server.tasks.requests import Violations

__all__ = ["Given", "listen"]

_SHOWN = 8


@dataclass(frozen=True)
class Given:
    """A caller's file with the roles of its tracks and its piano rolls."""

    kept: KeptFile
    song: Song
    roles: tuple[int | None, ...]
    """For each of the song's tracks the model's track that it plays; None if it is only kept."""
    rolls: Rolls
    """Input of the accompanist: the tracks with roles."""
    tracks: tuple[int, ...]
    """The model's tracks to add."""
    channels: tuple[int, ...]
    """Their channels."""


def listen(
    request: music_pb2.AccompanyRequest,
    tracks: Sequence[int],
    settings: manifest_pb2.MusicSettings,
    limits: MusicLimits,
    violations: Violations,
) -> Given | None:
    """Reads a caller's file.

    Args:
        request: The request; only its midi and roles are read.
        tracks: Indices of the requested tracks; empty for all that the file does not play.
        settings: The model's settings.
        limits: The server's limits.
        violations: Gets the wrong fields.

    Returns:
        None if a field was refused.
    """
    try:
        file = split_chunks(request.midi, max_tracks=MAX_TRACKS)
        song = to_song(file, max_events=limits.max_midi_events)
    except MidiError as error:
        violations.refuse("midi", str(error))
        return None
    roles = _roles(request.roles, song, settings, violations)
    if violations:
        return None
    added = tuple(tracks) or tuple(index for index in range(len(settings.tracks)) if index not in roles)
    if not added:
        violations.refuse("tracks", "are all played by the file; name those to add, or give roles")
        return None
    # A track whose role is generated anew is kept in the file, but is not an input of the accompanist.
    heard = [None if role in added else role for role in roles]
    grid = Grid.of(settings)
    try:
        rolls = to_rolls(song, heard, grid, settings.tracks, max_bars=limits.max_bars_per_call)
    except MidiError as error:
        violations.refuse("midi", str(error))
        return None
    _check_heard(file, song, heard, rolls, violations, grid=grid)
    channels = _channels(file, [settings.tracks[index] for index in added], violations)
    if violations:
        return None
    return Given(keep(file, song), song, tuple(heard), rolls, added, channels)


def _roles(
    requested: Sequence[music_pb2.TrackRole],
    song: Song,
    settings: manifest_pb2.MusicSettings,
    violations: Violations,
) -> list[int | None]:
    """Returns the role of each of the song's tracks: as requested, else guessed."""
    names = [track.role for track in settings.tracks]
    known = sorted({track.index for track in song.tracks})
    named: dict[int, int | None] = {}
    for position, entry in enumerate(requested):
        if violations.is_full:  # the error names no more
            break
        if entry.track not in known:
            has = ", ".join(str(index) for index in known[:_SHOWN]) + (", …" if len(known) > _SHOWN else "")
            violations.refuse(f"roles[{position}].track", f"is {entry.track}; tracks with notes are {has}")
        elif entry.track in named:
            violations.refuse(f"roles[{position}].track", f"is {entry.track} again; name each track once")
        elif entry.role and entry.role not in names:
            violations.refuse(f"roles[{position}].role", f"is {entry.role!r}; {nearest(entry.role, names)}")
        else:
            named[entry.track] = names.index(entry.role) if entry.role else None
    guessed = guess_roles(song, names)
    return [named.get(track.index, guess) for track, guess in zip(song.tracks, guessed, strict=True)]


def _check_heard(
    file: MidiFile, song: Song, heard: Sequence[int | None], rolls: Rolls, violations: Violations, *, grid: Grid
) -> None:
    """Checks that the accompanist has notes to follow, in its metre and at a resolution that fits its steps."""
    if missed := np.flatnonzero(rolls.missed).tolist():
        bars = ", ".join(str(bar + 1) for bar in missed[:_SHOWN]) + (", …" if len(missed) > _SHOWN else "")
        metre = f"{grid.beats_per_bar}/{grid.beat_unit}"
        violations.refuse("midi", f"has notes outside {metre}, the model's metre, in the bars {bars}")
    elif not rolls.fit.notes:
        known = ", ".join(dict.fromkeys(str(track.index) for track in song.tracks[:_SHOWN]))
        text = f"leave no notes to accompany; name the roles of the tracks with notes: {known}"
        if any(role is not None for role in heard):
            text = "leave no notes within the model's pitch range"
        violations.refuse("roles", text)
    step_ticks = grid.step_ticks(song.ticks_per_beat)
    if step_ticks < 1:
        text = (
            f"has {song.ticks_per_beat} ticks per quarter note; the model's steps need {1 / step_ticks:g} times as many"
        )
        violations.refuse("midi", text)
    end_tick = rolls.bars.starts[-1] if file.type else max(rolls.bars.starts[-1], song.end_tick)
    if end_tick > MAX_TICK:  # of type 0, each channel becomes a track, whose events may lie that far apart
        violations.refuse("midi", f"lasts {end_tick:.0f} ticks; allowed: up to {MAX_TICK}")


def _channels(
    file: MidiFile, tracks: Sequence[manifest_pb2.MusicTrackSettings], violations: Violations
) -> tuple[int, ...]:
    """Returns a channel for each new track that the file does not use, so that programs do not disturb each other."""
    free = free_channels(file)
    pitched = sum(not track.drums for track in tracks)
    if pitched > len(free):
        text = f"leaves {len(free)} of the 15 channels free, and {pitched} tracks with pitches are to be added"
        violations.refuse("midi", f"{text}; ask for fewer tracks")
        return ()
    channels = iter(free)
    return tuple(DRUM_CHANNEL if track.drums else next(channels) for track in tracks)
