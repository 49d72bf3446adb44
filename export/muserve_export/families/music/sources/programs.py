"""Which instruments play the notes of a MIDI file."""

from __future__ import annotations

from collections import Counter

import mido

__all__ = ["DRUMS", "notes_by_program"]

DRUMS = -1
"""Stands for all notes of the drum channel."""

_DRUM_CHANNEL = 9


def notes_by_program(song: mido.MidiFile) -> Counter[int]:
    """Counts the notes of each General MIDI program, 0 to 127, and of the drums."""
    notes: Counter[int] = Counter()
    for track in song.tracks:
        programs: dict[int, int] = {}
        for message in track:
            if message.type == "program_change":
                programs[message.channel] = message.program
            elif message.type == "note_on" and message.velocity:
                notes[DRUMS if message.channel == _DRUM_CHANNEL else programs.get(message.channel, 0)] += 1
    return notes
