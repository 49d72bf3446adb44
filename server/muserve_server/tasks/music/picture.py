"""A piano roll as PNG: time to the right, pitch up, a lane and a colour for each track. Pure functions."""

from __future__ import annotations

import io
import json
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont
from PIL.PngImagePlugin import PngInfo

from muserve_server.tasks.music.song import SongTrack

__all__ = ["draw_piano_roll", "picture_size"]

_WIDTH, _MAX_BAR_WIDTH, _MIN_BAR_WIDTH = 1536, 192, 32
_MARGIN, _TOP, _GAP = 92, 16, 6
_LANE, _DRUM_LANE = 96, 54
_MIN_PITCHES, _OCTAVE = 18, 12
_MAX_NOTE_HEIGHT, _MAX_HIT_HEIGHT = 6, 7
_LETTERS, _NAME_HEIGHT = 13, 13
_PAPER, _LANE_PAPER, _FAINT, _BAR, _INK, _GIVEN, _FIRST_COLOUR = range(7)
_COLOURS = (
    (255, 255, 255), (247, 247, 249), (232, 232, 237), (190, 190, 200), (60, 60, 70),
    (120, 120, 130), (31, 119, 180), (44, 140, 60), (214, 39, 40), (148, 103, 189), (214, 120, 20), (20, 150, 160),
    (200, 60, 140),
)  # fmt: skip


def picture_size(bars: int, drums: Sequence[bool]) -> tuple[int, int]:
    """Returns width and height in pixels.

    Args:
        bars: Number of bars.
        drums: For each track whether it plays drums.
    """
    height = sum(_DRUM_LANE if is_drums else _LANE for is_drums in drums) + _GAP * len(drums)
    return _MARGIN + bars * _bar_width(bars) + 1, _TOP + height


def draw_piano_roll(
    tracks: Sequence[SongTrack],
    bar_starts: NDArray[np.float64],
    beats_per_bar: int,
    metadata: Mapping[str, Any],
    *,
    given: int = 0,
) -> bytes:
    """Draws a piano roll: a lane a track, in it the pitches that the track has, with a line at each C.

    Args:
        tracks: The tracks, from the top; names in Latin letters are shown.
        bar_starts: [bar + 1], in ticks; the last is the end. All bars are drawn equally wide.
        beats_per_bar: For the lines of the beats.
        metadata: Stored as JSON in the text chunk "muserve".
        given: Number of tracks, from the top, that are the caller's: they are drawn in grey.

    Returns:
        The PNG file. Equal input gives equal bytes.
    """
    bars = len(bar_starts) - 1
    width, height = picture_size(bars, [track.drums for track in tracks])
    image = Image.new("P", (width, height), _PAPER)
    image.putpalette([value for colour in _COLOURS for value in colour])
    draw = ImageDraw.Draw(image)
    font = ImageFont.load_default_imagefont()
    bar_width = _bar_width(bars)
    edges = _MARGIN + bar_width * np.arange(bars + 1, dtype=np.float64)
    top = _TOP
    for index, track in enumerate(tracks):
        bottom = top + (_DRUM_LANE if track.drums else _LANE)
        draw.rectangle((_MARGIN, top, width - 1, bottom - 1), fill=_LANE_PAPER)
        _draw_time(draw, edges, beats_per_bar, top, bottom)
        colour = _GIVEN if index < given else _FIRST_COLOUR + (index - given) % (len(_COLOURS) - _FIRST_COLOUR)
        draw.rectangle((0, top, 3, bottom - 1), fill=colour)
        name = track.name.encode("latin-1", "replace").decode("latin-1")[:_LETTERS]
        draw.text((8, top + 2), name, fill=_INK, font=font)
        _draw_notes(draw, track, (top, bottom), colour, np.stack([bar_starts, edges]))
        top = bottom + _GAP
    for bar in range(0, bars, max(1, -(-28 // bar_width))):
        draw.text((int(edges[bar]) + 2, 2), str(bar + 1), fill=_INK, font=font)
    text = PngInfo()
    text.add_text("muserve", json.dumps(metadata, separators=(",", ":")))
    buffer = io.BytesIO()
    image.save(buffer, "PNG", pnginfo=text)
    return buffer.getvalue()


def _bar_width(bars: int) -> int:
    return min(max(_WIDTH // bars, _MIN_BAR_WIDTH), _MAX_BAR_WIDTH)


def _draw_time(
    draw: ImageDraw.ImageDraw, edges: NDArray[np.float64], beats_per_bar: int, top: int, bottom: int
) -> None:
    width = edges[1] - edges[0]
    for left in edges.tolist():
        for beat in range(1, beats_per_bar if left < edges[-1] else 0):
            x = int(left + beat * width / beats_per_bar)
            draw.line((x, top, x, bottom - 1), fill=_FAINT)
        draw.line((int(left), top, int(left), bottom - 1), fill=_BAR)


def _draw_notes(
    draw: ImageDraw.ImageDraw, track: SongTrack, lane: tuple[int, int], colour: int, time: NDArray[np.float64]
) -> None:
    """Draws the notes of a track into its lane; `time` is [2, bar + 1]: ticks, and the pixels that they are at."""
    top, bottom = lane
    start, end, pitch, _ = track.notes.T
    if track.drums:
        rows = {value: row for row, value in enumerate(np.unique(pitch).tolist())}
        row = np.array([rows[value] for value in pitch.tolist()], dtype=np.int64)
        count, lowest, max_height = max(len(rows), 4), 0, _MAX_HIT_HEIGHT
    else:
        low, high = (int(pitch.min()), int(pitch.max())) if len(pitch) else (60, 60)
        lowest = low - max(0, (_MIN_PITCHES - (high - low + 1)) // 2)
        count, max_height = max(_MIN_PITCHES, high - lowest + 1), _MAX_NOTE_HEIGHT
        row = pitch - lowest
    height = (bottom - top - 2) / count

    def y_of(row: float) -> float:
        return bottom - 1 - (row + 0.5) * height

    if not track.drums:
        font = ImageFont.load_default_imagefont()
        for c in range(-(-lowest // _OCTAVE) * _OCTAVE, lowest + count, _OCTAVE):
            y = int(y_of(c - lowest))
            draw.line((_MARGIN, y, int(time[1, -1]), y), fill=_FAINT)
            if top + _NAME_HEIGHT <= y - 6:
                draw.text((_MARGIN - 22, y - 6), f"C{c // _OCTAVE - 1}", fill=_BAR, font=font)
    left, right = np.interp(start, *time), np.interp(end, *time)
    thickness = int(min(max(height - 1, 2), max_height))
    for x, to, line in zip(left.tolist(), right.tolist(), row.tolist(), strict=True):
        y = int(y_of(line) - thickness / 2)
        last = x + 3 if track.drums else to - 2  # a gap, so that repeated notes are seen
        draw.rectangle((int(x) + 1, y, int(max(last, x + 2)), y + thickness - 1), fill=colour)
