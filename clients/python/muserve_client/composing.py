"""The calls behind `music` and `accompany`: arguments to requests, MIDI from wherever it comes, answers to pieces."""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from muserve.v1 import music_pb2
from muserve_client.answers import read_info
from muserve_client.core import Method, Rpc
from muserve_client.fields import Fields
from muserve_client.music import Accompaniment, Music, Piece, Quantisation, read_piece

__all__ = ["accompany_request", "accompany_rpc", "music_request", "music_rpc"]

_GENERATE_MUSIC = Method(
    "/muserve.v1.MusicService/GenerateMusic",
    music_pb2.GenerateMusicRequest.SerializeToString,
    music_pb2.GenerateMusicResponse.FromString,
)
_ACCOMPANY = Method(
    "/muserve.v1.MusicService/Accompany",
    music_pb2.AccompanyRequest.SerializeToString,
    music_pb2.AccompanyResponse.FromString,
)
_ALLOWED_MIDI = "a path, the bytes of a file, a binary file object, a piece, or a mido.MidiFile"


def music_request(*, tempo_bpm: Any, bars: Any, **common: Any) -> music_pb2.GenerateMusicRequest:
    """Writes the arguments of `Client.music` as a request.

    Raises:
        InvalidRequestError: Names the arguments that no request can carry.
    """
    fields, request = Fields(), music_pb2.GenerateMusicRequest()
    if tempo_bpm is not None:
        request.tempo_bpm = fields.real("tempo_bpm", tempo_bpm)
    if bars is not None:
        request.bars = fields.whole("bars", bars, bits=32)
    _fill(fields, request, **common)
    fields.check()
    return request


def accompany_request(midi: Any, *, roles: Any, **common: Any) -> music_pb2.AccompanyRequest:
    """Writes the arguments of `Client.accompany` as a request.

    Raises:
        InvalidRequestError: Names the arguments that no request can carry.
        OSError: A file cannot be read.
    """
    fields, request = Fields(), music_pb2.AccompanyRequest()
    request.midi = _midi_bytes(fields, midi)
    if isinstance(roles, Mapping):
        for index, (track, role) in enumerate(roles.items()):
            request.roles.add(
                track=fields.whole(f"roles[{index}].track", track, bits=32),
                role="" if role is None else fields.text(f"roles[{index}].role", role),
            )
    elif roles is not None:
        fields.refuse("roles", f"is {roles!r}; allowed: roles by the indexes of tracks, as in {{1: 'bass'}}")
    _fill(fields, request, **common)
    fields.check()
    return request


def music_rpc(request: music_pb2.GenerateMusicRequest) -> Rpc[Music]:
    """Returns the call that answers a request."""

    def read(response: music_pb2.GenerateMusicResponse) -> Music:
        return Music(tuple(map(read_piece, response.pieces)), read_info(response.info))

    return Rpc(_GENERATE_MUSIC, request, read)


def accompany_rpc(request: music_pb2.AccompanyRequest) -> Rpc[Accompaniment]:
    """Returns the call that answers a request."""

    def read(response: music_pb2.AccompanyResponse) -> Accompaniment:
        fit = response.quantisation
        return Accompaniment(
            pieces=tuple(map(read_piece, response.pieces)),
            info=read_info(response.info),
            roles=_read_roles(response),
            quantisation=Quantisation(fit.notes, fit.folded_notes, fit.mean_error_steps, fit.on_grid_share, fit.bars),
        )

    return Rpc(_ACCOMPANY, request, read)


def _read_roles(response: music_pb2.AccompanyResponse) -> dict[int, str]:
    """Reads the roles by track; the parts of a track with several channels may play different ones."""
    found: dict[int, list[str]] = {}
    for part in response.roles:
        roles = found.setdefault(part.track, [])
        if part.role and part.role not in roles:
            roles.append(part.role)
    return {track: "+".join(roles) for track, roles in found.items()}


def _fill(
    fields: Fields,
    request: music_pb2.GenerateMusicRequest | music_pb2.AccompanyRequest,
    *,
    style: Any,
    tracks: Any,
    count: Any,
    density: Any,
    seed: Any,
    first_sample: Any,
    piano_roll: bool,
    model: Any,
    version: Any,
) -> None:
    """Writes what both calls take."""
    request.model = fields.text("model", model)
    request.style = fields.text("style", style)
    request.tracks.extend(fields.texts("tracks", tracks))
    request.first_sample = fields.whole("first_sample", first_sample, bits=64)
    request.piano_roll = bool(piano_roll)
    if version is not None:
        request.version = fields.whole("version", version, bits=32)
    if count is not None:
        request.count = fields.whole("count", count, bits=32)
    if density is not None:
        request.density = fields.real("density", density)
    if seed is not None:
        request.seed = fields.whole("seed", seed, bits=64)


def _midi_bytes(fields: Fields, midi: Any) -> bytes:
    """Takes the content of a MIDI file in any form in which people hold one."""
    if isinstance(midi, Music) and len(midi) == 1:
        midi = midi[0]
    if isinstance(midi, Piece):
        return midi.midi
    if isinstance(midi, bytes | bytearray | memoryview):
        return bytes(midi)
    if isinstance(midi, str | os.PathLike):
        return Path(midi).read_bytes()
    mido = sys.modules.get("mido")  # whoever has such a file has imported it
    if mido is not None and isinstance(midi, mido.MidiFile):
        return _written(fields, midi)
    if hasattr(midi, "read") and not isinstance(midi, io.TextIOBase):
        content = midi.read()
        if isinstance(content, bytes):
            return content
    what = f"{len(midi)} pieces" if isinstance(midi, Music) else f"of the type {type(midi).__name__}"
    fields.refuse("midi", f"is {what}; allowed: {_ALLOWED_MIDI}")
    return b""


def _written(fields: Fields, midi: Any) -> bytes:
    """Writes a mido.MidiFile."""
    content = io.BytesIO()
    try:
        midi.save(file=content)
    except (AttributeError, TypeError, ValueError) as error:  # what mido raises for a file that is put together wrongly
        fields.refuse("midi", f"cannot be written by mido: {error}")
    return content.getvalue()
