"""A fake music server whose pieces are real MIDI files and follow from the request alone, as the real ones do."""

from __future__ import annotations

import io
import json
from contextlib import AbstractContextManager
from typing import Any

import mido

from muserve.v1 import music_pb2
from tests.client.fakes import FakeServer, fake_server, healthy

__all__ = ["ROLES", "accompany", "band", "compose", "midi_file", "notes_of", "play"]

ROLES = {"drums": 0, "keys": 4, "bass": 33}
"""Each with its program."""
PNG = b"\x89PNG roll "
_TICKS_PER_BEAT = 480
_DRUM_CHANNEL = 9
_STYLES = ("rock", "samba/reggae")


def band(requests: list[Any] | None = None) -> AbstractContextManager[FakeServer]:
    """A server that plays; notes the requests that it sees."""

    def answer(request: Any, *_: Any) -> Any:
        if requests is not None:
            requests.append(request)
        return play(request)

    return fake_server(answer, health=healthy("muserve.v1.MusicService"))


def play(request: Any) -> Any:
    """Answers either call."""
    return accompany(request) if isinstance(request, music_pb2.AccompanyRequest) else compose(request)


def compose(request: music_pb2.GenerateMusicRequest) -> music_pb2.GenerateMusicResponse:
    """Answers GenerateMusic: each piece has a note a bar in each track, the pitch by seed and sample."""
    response = music_pb2.GenerateMusicResponse()
    _sign(response, request)
    for sample in _samples(request):
        bars = request.bars or 4
        piece = response.pieces.add(
            sample=sample,
            style=request.style or _STYLES[(response.info.seed + sample) % len(_STYLES)],
            tempo_bpm=request.tempo_bpm or 120,
            bars=bars,
            piano_roll_png=PNG + str(sample).encode() if request.piano_roll else b"",
        )
        file = midi_file(*(_track(role, response.info.seed + sample, bars) for role in request.tracks or ROLES))
        _finish(piece, file, response)
    return response


def accompany(request: music_pb2.AccompanyRequest) -> music_pb2.AccompanyResponse:
    """Answers Accompany: the given tracks are guessed by program, and each missing role gets a note in one bar."""
    given = mido.MidiFile(file=io.BytesIO(request.midi))
    programs = {program: role for role, program in ROLES.items()}
    asked = {role.track: role.role for role in request.roles}
    roles = {
        index: asked.get(index, "drums" if _is_drums(track) else programs.get(_program(track), ""))
        for index, track in enumerate(given.tracks)
        if notes_of(track)
    }
    response = music_pb2.AccompanyResponse(
        roles=[music_pb2.TrackRole(track=index, role=role) for index, role in roles.items()],
        quantisation=music_pb2.Quantisation(
            notes=sum(len(notes_of(given.tracks[index])) for index, role in roles.items() if role),
            mean_error_steps=0.125,
            on_grid_share=0.75,
            bars=1,
        ),
    )
    _sign(response, request)
    for sample in _samples(request):
        piece = response.pieces.add(
            sample=sample,
            style=request.style or _STYLES[(response.info.seed + sample) % len(_STYLES)],
            tempo_bpm=120,
            bars=1,
            piano_roll_png=PNG + str(sample).encode() if request.piano_roll else b"",
        )
        added = request.tracks or [role for role in ROLES if role not in roles.values()]
        file = midi_file(*given.tracks[1:], *(_track(role, response.info.seed + sample, 1) for role in added))
        _finish(piece, file, response, {index - 1: role for index, role in roles.items()})
    return response


def midi_file(*tracks: Any, text: str = "") -> Any:
    """A file of type 1 with tempo and text in its first track."""
    file = mido.MidiFile(type=1, ticks_per_beat=_TICKS_PER_BEAT)
    conductor = mido.MidiTrack([mido.MetaMessage("set_tempo", tempo=500_000)])
    if text:
        conductor.insert(0, mido.MetaMessage("text", text=text))
    file.tracks.extend([conductor, *tracks])
    return file


def notes_of(track: Any) -> list[tuple[int, int]]:
    """The notes of a track: ticks since the event before, pitch."""
    return [(event.time, event.note) for event in track if event.type == "note_on"]


def _track(role: str, number: int, bars: int) -> Any:
    channel = _DRUM_CHANNEL if role == "drums" else list(ROLES).index(role)
    track = mido.MidiTrack([mido.MetaMessage("track_name", name=role.title())])
    track.append(mido.Message("program_change", channel=channel, program=ROLES[role]))
    for bar in range(bars):
        pitch = 36 + (number + bar) % 24
        track.append(mido.Message("note_on", channel=channel, note=pitch, velocity=90))
        track.append(mido.Message("note_off", channel=channel, note=pitch, time=4 * _TICKS_PER_BEAT))
    return track


def _program(track: Any) -> int:
    return next((event.program for event in track if event.type == "program_change"), 0)


def _is_drums(track: Any) -> bool:
    return any(event.type == "note_on" and event.channel == _DRUM_CHANNEL for event in track)


def _samples(request: Any) -> range:
    return range(request.first_sample, request.first_sample + (request.count or 1))


def _sign(response: Any, request: Any) -> None:
    response.info.model, response.info.version = request.model or "band", request.version or 2
    response.info.seed, response.info.digest = request.seed if request.HasField("seed") else 53, "d"


def _finish(piece: Any, file: Any, response: Any, given: dict[int, str] | None = None) -> None:
    """Puts the file and the list of its tracks into a piece; `given` has the roles of the caller's own."""
    facts = {"model": response.info.model, "seed": response.info.seed, "sample": piece.sample, "style": piece.style}
    file.tracks[0].insert(0, mido.MetaMessage("text", text="muserve " + json.dumps(facts)))
    for index, track in enumerate(file.tracks[1:]):
        if notes_of(track):
            piece.tracks.add(
                name=track.name,
                role=(given or {}).get(index, track.name.lower()),
                program=_program(track),
                drums=_is_drums(track),
                notes=len(notes_of(track)),
                given=index in (given or {}),
            )
    content = io.BytesIO()
    file.save(file=content)
    piece.midi = content.getvalue()
