"""Which of a model's roles the tracks of a file play, guessed from channel, program and range."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from muserve_server.tasks.music.song import Song, SongTrack

__all__ = ["guess_roles"]

_FAMILIES = ((24, "keys"), (32, "guitar"), (40, "bass"), (96, "strings"))
"""General MIDI programs up to each. Organs count as keys; winds, leads and pads as strings; effects have no role."""
_SHARE_OF_BASS = 0.8
_BASS_BELOW = 52  # E3


def guess_roles(song: Song, roles: Sequence[str]) -> list[int | None]:
    """Guesses the role of each of a song's tracks.

    Drums are what is on channel 10. Otherwise the program says it. A file whose programs are all 0 names no
    instruments: there, a track that stays low and plays hardly any chords is the bass, and the others are keys.

    Args:
        song: The song.
        roles: The model's roles: "drums", "keys", "guitar", "bass", "strings", or some of them.

    Returns:
        For each of the song's tracks the index among `roles`; None where no role fits.
    """
    index = {role: number for number, role in enumerate(roles)}
    pitched = [track for track in song.tracks if not track.drums]
    unnamed = not any(track.program for track in pitched)
    found: list[int | None] = []
    for track in song.tracks:
        if track.drums:
            role = "drums"
        elif unnamed:
            role = "bass" if len(pitched) > 1 and _is_bass(track) else "keys"
        else:
            role = next((family for end, family in _FAMILIES if track.program < end), "")
        found.append(index.get(role))
    return found


def _is_bass(track: SongTrack) -> bool:
    """Whether a track stays low, one note at a time."""
    starts, pitches = track.notes[:, 0], track.notes[:, 2]
    alone = len(np.unique(starts)) / len(starts)
    return bool(np.median(pitches) < _BASS_BELOW and alone > _SHARE_OF_BASS)
