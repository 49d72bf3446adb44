"""How models of music are verified."""

from __future__ import annotations

import struct
from typing import Any

from muserve.v1 import manifest_pb2, music_pb2
from muserve_client.calls.music.flow import ACCOMPANY, GENERATE_MUSIC
from muserve_client.calls.probes import (
    MAX_OTHER_ITEMS,
    OTHER_SEEDS,
    SEED,
    Answer,
    Probe,
    answer_of,
    copy_of,
    one_sample,
)

__all__ = ["PROBES"]

_DEFAULT_PIECES = 3
_TEMPI_BPM = range(40, 241)
_TICKS_PER_QUARTER = 480
_CHORD = (0, 4, 7, 12, 7, 4)


def _read(response: music_pb2.GenerateMusicResponse | music_pb2.AccompanyResponse) -> Answer:
    # Whole messages: the file, the picture, and what is said beside them.
    items = {f"sample {piece.sample}": piece.SerializeToString(deterministic=True) for piece in response.pieces}
    return answer_of(response, items)


def _default_music(manifest: manifest_pb2.ModelManifest) -> music_pb2.GenerateMusicRequest:
    """Goes a bar beyond what one run gives."""
    settings = manifest.music
    bars = max(1, min(settings.max_bars, settings.bars + 1))
    return music_pb2.GenerateMusicRequest(count=_DEFAULT_PIECES, seed=SEED, bars=bars)


def _other_music(request: music_pb2.GenerateMusicRequest, index: int) -> music_pb2.GenerateMusicRequest:
    other: music_pb2.GenerateMusicRequest = _reseeded(request, index)
    other.tempo_bpm = _TEMPI_BPM[index % len(_TEMPI_BPM)]
    return other


def _default_accompaniment(manifest: manifest_pb2.ModelManifest) -> music_pb2.AccompanyRequest | None:
    """Gives a tune that goes a bar beyond one run to the model's first track that is no drums."""
    settings = manifest.music
    role = next((track.role for track in settings.tracks if not track.drums), "")
    if not settings.accompanist or not role:
        return None
    request = music_pb2.AccompanyRequest(midi=_tune(settings), count=_DEFAULT_PIECES, seed=SEED)
    request.roles.add(track=0, role=role)
    return request


def _tune(settings: manifest_pb2.MusicSettings) -> bytes:
    """Writes a MIDI file of type 0 with a note a beat, up and down a chord."""
    beats = settings.beats_per_bar or 4
    unit = max(1, settings.beat_unit).bit_length() - 1  # files hold its logarithm to base 2
    beat = (4 * _TICKS_PER_QUARTER) >> unit
    lowest = settings.lowest_pitch + settings.pitches // 3
    track = bytes([0, 0xFF, 0x58, 4, beats, unit, 24, 8])
    for number in range(beats * (settings.bars + 1)):
        pitch = min(127, lowest + _CHORD[number % len(_CHORD)])
        length = bytes([0x80 | beat >> 7, beat & 0x7F])  # a number of two 7-bit digits
        track += bytes([0, 0x90, pitch, 90]) + length + bytes([0x80, pitch, 0])
    track += bytes([0, 0xFF, 0x2F, 0])
    header = struct.pack(">4sIHHH", b"MThd", 6, 0, 1, _TICKS_PER_QUARTER)
    return header + struct.pack(">4sI", b"MTrk", len(track)) + track


def _reseeded(request: Any, index: int) -> Any:
    """Makes another call of the same kind, of one up to eight samples."""
    other = copy_of(request)
    other.count, other.seed, other.first_sample = 1 + index % MAX_OTHER_ITEMS, OTHER_SEEDS + index, 0
    other.piano_roll = False
    return other


PROBES = (
    Probe(
        task="music",
        request=music_pb2.GenerateMusicRequest,
        method=GENERATE_MUSIC,
        nouns=("pieces", "samples", "bytes"),
        read=_read,
        default=_default_music,
        other=_other_music,
        alone=one_sample,
    ),
    Probe(
        task="music",
        request=music_pb2.AccompanyRequest,
        method=ACCOMPANY,
        nouns=("accompaniments", "samples", "bytes"),
        read=_read,
        default=_default_accompaniment,
        other=_reseeded,
        alone=one_sample,
        name="default accompaniment",
    ),
)
