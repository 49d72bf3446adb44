"""Pictures of phrases for the sheets of a run: all tracks on one piano roll, drums below."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from muserve_export.families.music.data import DRUMS
from muserve_server.tasks.media.png import contact_sheet

__all__ = ["draw_phrases"]

_STEP_PIXELS, _DRUM_PITCHES, _LINE_STEPS = 3, 40, 16
_PAPER, _LINE = 250, 215
_COLOURS = np.array(
    [(40, 40, 40), (220, 60, 60), (40, 160, 60), (40, 80, 220), (200, 140, 0)], np.uint8
)  # drums, keys, guitar, bass, strings


def draw_phrases(rolls: NDArray[np.bool_]) -> NDArray[np.uint8]:
    """Draws phrases: time to the right, pitch up, onsets dark.

    Args:
        rolls: [phrase, track, channel, step, pitch].

    Returns:
        uint8 [height, width, 3].
    """
    return contact_sheet(np.stack([_draw(phrase) for phrase in rolls]))


def _draw(phrase: NDArray[np.bool_]) -> NDArray[np.uint8]:
    steps, pitches = phrase.shape[2:]
    drums = min(_DRUM_PITCHES, pitches)
    picture = np.full((pitches + drums, steps * _STEP_PIXELS, 3), _PAPER, np.uint8)
    picture[:, :: _LINE_STEPS * _STEP_PIXELS] = _LINE
    for track, (onset, hold) in enumerate(phrase):
        lane = picture[:pitches] if track != DRUMS else picture[pitches:]
        sounds, begins = ((part.T[: len(lane)])[::-1] for part in (onset | hold, onset))  # the highest pitch on top
        for pixel in range(_STEP_PIXELS - (track == DRUMS)):
            lane[:, pixel::_STEP_PIXELS][sounds] = _COLOURS[track]
        lane[:, ::_STEP_PIXELS][begins] = _COLOURS[track] // 2
    return picture
