"""What a graph decided becomes pieces: MIDI files and pictures, with the metadata of their making. Pure functions."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from muserve.bundle import Bundle
from muserve.v1 import manifest_pb2, music_pb2
from muserve_server.tasks.media.provenance import provenance
from muserve_server.tasks.music.midi_writer import write_song
from muserve_server.tasks.music.picture import draw_piano_roll
from muserve_server.tasks.music.planning import OPEN_DENSITY, Plan
from muserve_server.tasks.music.rolls import flags_to_notes
from muserve_server.tasks.music.song import US_PER_MINUTE, Song, SongTrack

__all__ = ["TEXT_PREFIX", "write_piece"]

TEXT_PREFIX = "muserve "

Flags = NDArray[np.bool_]


def write_piece(bundle: Bundle, plan: Plan, index: int, begins: Flags, sounding: Flags) -> music_pb2.MusicPiece:
    """Writes one piece.

    Args:
        bundle: Who wrote it.
        plan: The request.
        index: Which of the plan's pieces.
        begins: Where a note begins, [bar, track, step, pitch], in all bars of its phrases.
        sounding: Where one sounds on, of the same shape.
    """
    settings, given = bundle.manifest.music, plan.given
    style = "" if plan.styles is None else settings.styles[plan.styles[index]].name
    metadata = _metadata(bundle, plan, index, style)
    text = TEXT_PREFIX + json.dumps(metadata, separators=(",", ":"))
    notes = _notes(settings, plan, begins[: plan.bars], sounding[: plan.bars])
    new = _new_tracks(settings, plan, index, notes)
    end_tick = round(float(plan.bar_starts[-1]))
    if given:
        midi, tracks = given.kept.add(new, text, end_tick), [*given.song.tracks, *new]
    else:
        midi, tracks = write_song(_song(settings, plan, index, new, end_tick), text=text), new
    piece = music_pb2.MusicPiece(
        midi=midi, sample=plan.first_sample + index, style=style, tempo_bpm=plan.tempo_bpm[index], bars=plan.bars
    )
    _describe(piece, settings, plan, tracks)
    if plan.piano_roll:
        piece.piano_roll_png = draw_piano_roll(
            tracks, plan.bar_starts, settings.beats_per_bar, metadata, given=len(tracks) - len(new)
        )
    return piece


def _notes(settings: manifest_pb2.MusicSettings, plan: Plan, begins: Flags, sounding: Flags) -> list[NDArray[np.int64]]:
    """Decodes the notes of all tracks; in bars of a caller's file that are in another metre there are none."""
    if not plan.given:
        return flags_to_notes(begins, sounding, settings)
    bars = plan.given.rolls.bars
    whole, ends = bars.whole[:, None, None, None], bars.ends_of(settings.steps_per_bar)
    notes = flags_to_notes(begins & whole, sounding & whole, settings)
    for found in notes:
        found[:, 1] = np.minimum(found[:, 1], ends[found[:, 0]])
    return notes


def _new_tracks(
    settings: manifest_pb2.MusicSettings, plan: Plan, index: int, notes: Sequence[NDArray[np.int64]]
) -> list[SongTrack]:
    """Puts the notes of the tracks that are written, [note, 4] with start and end in steps, on the time of the file."""
    bar_starts, steps = plan.bar_starts, settings.steps_per_bar
    # Rounded half up, not to even: steps of one tick or more must not fall together.
    ticks = np.floor(bar_starts[:, None] + plan.step_ticks * np.arange(steps) + 0.5).astype(np.int64).ravel()
    programs = None if plan.styles is None else settings.styles[plan.styles[index]].programs
    tracks = []
    for number, channel in zip(plan.tracks, plan.channels, strict=True):
        track, found = settings.tracks[number], notes[number].copy()
        found[:, :2] = ticks[found[:, :2]]
        program = 0 if track.drums else programs[number] if programs else track.program
        tracks.append(SongTrack(number, channel, track.name or track.role, program, found))
    return tracks


def _song(
    settings: manifest_pb2.MusicSettings, plan: Plan, index: int, tracks: Sequence[SongTrack], end_tick: int
) -> Song:
    return Song(
        ticks_per_beat=plan.ticks_per_beat,
        tracks=tuple(tracks),
        tempos=np.array([[0, round(US_PER_MINUTE / plan.tempo_bpm[index])]]),
        time_signatures=np.array([[0, settings.beats_per_bar, settings.beat_unit]]),
        end_tick=end_tick,
    )


def _describe(
    piece: music_pb2.MusicPiece, settings: manifest_pb2.MusicSettings, plan: Plan, tracks: Sequence[SongTrack]
) -> None:
    """Lists the tracks: the caller's own, and then the new ones."""
    played = plan.given.roles if plan.given else ()
    roles = [*played, *plan.tracks]
    for position, (track, role) in enumerate(zip(tracks, roles, strict=True)):
        piece.tracks.add(
            name=track.name,
            role="" if role is None else settings.tracks[role].role,
            program=0 if track.drums else track.program,
            drums=track.drums,
            notes=len(track.notes),
            given=position < len(played),
        )


def _metadata(bundle: Bundle, plan: Plan, index: int, style: str) -> dict[str, Any]:
    metadata: dict[str, Any] = {"seed": plan.seed, "sample": plan.first_sample + index}
    if style:
        metadata["style"] = style
    metadata["tempo_bpm"] = float(plan.tempo_bpm[index])
    if plan.density != OPEN_DENSITY:
        metadata["density"] = plan.density
    return provenance(bundle, **metadata)
