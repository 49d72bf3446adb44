"""The calls that write music and accompany a piece."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from muserve.v1 import music_pb2
from muserve_client.calls.music.midi_files import midi_bytes
from muserve_client.calls.music.result import Accompaniment, Music, read_accompaniment, read_music
from muserve_client.fields import Fields
from muserve_client.flows import Flow, Rpc, method_of

__all__ = ["ACCOMPANY", "GENERATE_MUSIC", "accompany", "music"]

_SERVICE = music_pb2.DESCRIPTOR.services_by_name["MusicService"]
GENERATE_MUSIC = method_of(_SERVICE, "GenerateMusic")
ACCOMPANY = method_of(_SERVICE, "Accompany")


def music(
    style: str = "",
    *,
    tempo_bpm: float | None = None,
    bars: int | None = None,
    tracks: str | Sequence[str] = (),
    density: float | None = None,
    count: int | None = None,
    seed: int | None = None,
    first_sample: int = 0,
    piano_roll: bool = False,
    model: str = "",
    version: int | None = None,
    timeout_s: float | None = None,
    request_id: str | None = None,
) -> Flow[Music]:
    """Generates music as MIDI files.

    Args:
        style: Such as "bossanova"; the model's manifest lists them. "" draws one for each piece.
        tempo_bpm: Quarter notes per minute, 40 to 240; None takes the style's typical tempo.
        bars: Length, up to the manifest's `max_bars`; None takes what one run of the model gives. A longer piece
            begins with the same bars as a shorter one of the same seed.
        tracks: Roles of the tracks to keep, as in ["drums", "bass"]; empty keeps all.
        density: How busy, from 0, like the sparsest training pieces of the style, to 1, like the busiest; None leaves
            it open. Not every model supports it.
        count: How many pieces; None takes 1.
        seed: From 0 to 2^64 - 1; None lets the server draw one, which the result reports.
        first_sample: Index of the first sample in the seed's endless series: first_sample=7, count=1 gives sample 7
            of a set again.
        piano_roll: Whether each piece comes with a picture of its notes, which notebooks show.
        model: Model name; "" takes the server's default.
        version: Model version; None takes the newest.
        timeout_s: Seconds for this call, retries included; None takes the client's.
        request_id: The call's name in the server's log; None draws one.

    Returns:
        The pieces with model, digest and seed.

    Raises:
        MuserveError: As `muserve.errors` lists them.
    """
    fields, request = Fields(), music_pb2.GenerateMusicRequest()
    fields.fill(
        request,
        tempo_bpm=tempo_bpm,
        bars=bars,
        model=model,
        style=style,
        tracks=tracks,
        first_sample=first_sample,
        version=version,
        count=count,
        density=density,
        seed=seed,
        piano_roll=piano_roll,
    )
    fields.check()
    return read_music((yield Rpc(GENERATE_MUSIC, request, timeout_s=timeout_s, request_id=request_id)))


def accompany(
    midi: Any,
    *,
    roles: Mapping[int, str | None] | None = None,
    tracks: str | Sequence[str] = (),
    style: str = "",
    density: float | None = None,
    count: int | None = None,
    seed: int | None = None,
    first_sample: int = 0,
    piano_roll: bool = False,
    model: str = "",
    version: int | None = None,
    timeout_s: float | None = None,
    request_id: str | None = None,
) -> Flow[Accompaniment]:
    """Adds tracks to a piece of yours, whose own notes come back unchanged.

    Args:
        midi: A MIDI file of type 0 or 1 in the model's metre: its path, its bytes, a binary file object, a
            mido.MidiFile, or a piece from this client.
        roles: What tracks of the file play, by track index, as in {1: "bass"}; None for a track to keep without
            listening to it. The server guesses the others; the result reports how.
        tracks: Roles of the tracks to add, as in ["drums", "bass"]; empty adds all that the file does not play.
        style: See `music`.
        density: How busy the new tracks are; see `music`.
        count: How many accompaniments; None takes 1.
        seed: See `music`.
        first_sample: See `music`.
        piano_roll: See `music`.
        model: See `music`. Not every model can accompany.
        version: See `music`.
        timeout_s: See `music`.
        request_id: See `music`.

    Returns:
        The pieces with model, digest and seed; how the file was read, and how well it fits the model's grid.

    Raises:
        OSError: The file cannot be read.
        MuserveError: As `muserve.errors` lists them.
    """
    fields, request = Fields(), music_pb2.AccompanyRequest()
    request.midi = midi_bytes(fields, midi)
    _fill_roles(fields, request, roles)
    fields.fill(
        request,
        model=model,
        style=style,
        tracks=tracks,
        first_sample=first_sample,
        version=version,
        count=count,
        density=density,
        seed=seed,
        piano_roll=piano_roll,
    )
    fields.check()
    return read_accompaniment((yield Rpc(ACCOMPANY, request, timeout_s=timeout_s, request_id=request_id)))


def _fill_roles(fields: Fields, request: music_pb2.AccompanyRequest, roles: Any) -> None:
    if isinstance(roles, Mapping):
        for index, (track, role) in enumerate(roles.items()):
            request.roles.add(
                track=fields.whole(f"roles[{index}].track", track, bits=32),
                role="" if role is None else fields.text(f"roles[{index}].role", role),
            )
    elif roles is not None:
        fields.refuse("roles", f"is {roles!r}; allowed: roles by the indexes of tracks, as in {{1: 'bass'}}")
