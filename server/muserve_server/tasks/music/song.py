"""A song as notes: the content of a MIDI file, in ticks. Values only.

MidiError (a ValueError): the file is not a MIDI file, or one that is not supported.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["DEFAULT_TEMPO_BPM", "DRUM_CHANNEL", "US_PER_MINUTE", "MidiError", "Song", "SongTrack"]

DRUM_CHANNEL = 9
"""Counted from 0; known as channel 10."""
DEFAULT_TEMPO_BPM = 120.0
"""Tempo before the first tempo event, by the MIDI standard."""

US_PER_MINUTE = 60e6
"""Microseconds."""


class MidiError(ValueError):
    """A MIDI file cannot be used. The text says why."""


@dataclass(frozen=True)
class SongTrack:
    """The notes of one channel in one track."""

    index: int
    """Index of the track in the file; in a file of type 0, of the channel among those that have notes."""
    channel: int
    """0 up to 15."""
    name: str
    """Empty if the file has none."""
    program: int
    """General MIDI program, 0 up to 127: the first that the channel gets in this track."""
    notes: NDArray[np.int64]
    """[note, 4]: start tick, end tick, pitch, velocity; by start, then pitch. An end may equal its start."""

    @property
    def drums(self) -> bool:
        """Whether it plays drums: on channel 10."""
        return self.channel == DRUM_CHANNEL


@dataclass(frozen=True)
class Song:
    """One song."""

    ticks_per_beat: int
    """Ticks of a quarter note."""
    tracks: tuple[SongTrack, ...]
    """All that have notes, in the order of the file; at least one."""
    tempos: NDArray[np.int64]
    """[change, 2]: tick, microseconds of a quarter note; rising ticks. Empty if the file names no tempo."""
    time_signatures: NDArray[np.int64]
    """[change, 3]: tick, beats of a bar, note value of a beat; rising ticks, the first at 0, 4/4 if none is named."""
    end_tick: int
    """Where the last of its tracks ends."""

    @property
    def tempo_bpm(self) -> float:
        """The tempo at the beginning, in quarter notes a minute; 120 if none is named, as the standard says."""
        if len(self.tempos) and not self.tempos[0, 0]:
            return US_PER_MINUTE / float(self.tempos[0, 1])
        return DEFAULT_TEMPO_BPM
