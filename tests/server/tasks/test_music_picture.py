"""The piano roll: what stands where."""

from __future__ import annotations

import io
import json
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from muserve_server.tasks.music.picture import draw_piano_roll, picture_size
from muserve_server.tasks.music.song import Song, SongTrack
from tests.server.musical import song_of

BAR = 1920
PAPERS = {(255, 255, 255), (247, 247, 249), (232, 232, 237), (190, 190, 200), (60, 60, 70)}


def drawn(song: Song, bars: int, **options: Any) -> NDArray[np.uint8]:
    png = draw_piano_roll(song.tracks, BAR * np.arange(bars + 1, dtype=np.float64), 4, {"seed": 1}, **options)
    with Image.open(io.BytesIO(png)) as image:
        assert json.loads(image.info["muserve"]) == {"seed": 1}
        assert image.size == picture_size(bars, [track.drums for track in song.tracks])
        return np.asarray(image.convert("RGB"))


def boxes(pixels: NDArray[np.uint8]) -> list[tuple[int, int, int, int]]:
    """Left, top, right and bottom of each patch of a track's colour right of the labels, by left and top."""
    area = np.array([[tuple(pixel) not in PAPERS for pixel in row[92:]] for row in pixels.tolist()])
    found = []
    while area.any():
        top, left = (int(value) for value in np.argwhere(area)[0])
        right, bottom = left, top
        while right + 1 < area.shape[1] and area[top, right + 1]:
            right += 1
        while bottom + 1 < area.shape[0] and area[bottom + 1, left]:
            bottom += 1
        area[top : bottom + 1, left : right + 1] = False
        found.append((left, top, right, bottom))
    return sorted(found)


def test_time_goes_right_and_pitch_up() -> None:
    pixels = drawn(song_of([(0, 480, 60), (480, 960, 64), (BAR, 2 * BAR, 62)]), 2)
    first, second, third = boxes(pixels)
    assert (first[0], first[2]) == (1, 46)  # a quarter of a bar of 192 pixels, with a gap after it
    assert (second[0], second[2]) == (49, 94)
    assert (third[0], third[2]) == (193, 382)
    assert first[1] > third[1] > second[1]
    assert len({bottom - top for _, top, _, bottom in (first, second, third)}) == 1


def test_repeated_notes_are_seen() -> None:
    assert len(boxes(drawn(song_of([(tick, tick + 120, 60) for tick in range(0, BAR, 120)]), 1))) == 16
    assert len(boxes(drawn(song_of([(tick, tick + 120, 60) for tick in range(0, 32 * BAR, 120)]), 32))) == 512


def test_each_track_has_a_lane_and_a_colour() -> None:
    song = song_of([(0, 960, 60)], [(0, 960, 30)], [(0, 960, 40)], channels=[9, 0, 1])
    pixels = drawn(song, 4)
    found = boxes(pixels)
    colours = {tuple(pixels[top, 92 + left].tolist()) for left, top, _, _ in found}
    assert len(found) == len(colours) == 3
    assert [top // 100 for _, top, _, _ in sorted(found, key=lambda box: box[1])] == [0, 1, 2]
    assert found[0][2] - found[0][0] < 6  # a hit has no length
    given = drawn(song, 4, given=2)
    assert [tuple(given[row, 1].tolist()) for row in (20, 90, 190)] == [
        (120, 120, 130), (120, 120, 130), tuple(pixels[20, 1].tolist()),
    ]  # fmt: skip


@pytest.mark.parametrize(("bars", "width"), [(1, 192), (4, 768), (8, 1536), (32, 1536), (48, 1536), (100, 3200)])
def test_a_bar_is_as_wide_as_there_is_room(bars: int, width: int) -> None:
    assert picture_size(bars, [False]) == (92 + width + 1, 16 + 96 + 6)
    assert picture_size(bars, [False, True, False])[1] == 16 + 96 + 54 + 96 + 3 * 6
    assert drawn(song_of([(0, 480, 60)]), bars).any()


def test_bars_of_several_metres_are_drawn_equally_wide() -> None:
    song = song_of([(0, 100, 60), (1000, 1100, 60), (1500, 3000, 60)])
    png = draw_piano_roll(song.tracks, np.array([0.0, 1000, 1500, 3000]), 4, {})
    with Image.open(io.BytesIO(png)) as image:
        found = boxes(np.asarray(image.convert("RGB")))
    assert [left for left, *_ in found] == [1, 193, 385]


def test_any_track_can_be_drawn() -> None:
    wide = [(0, 480, 0), (0, 480, 127), (480, 480, 64)]
    tracks = [
        SongTrack(0, 0, "Ünï\N{GRINNING FACE}" * 20, 0, np.array([(*note, 90) for note in wide])),
        SongTrack(1, 1, "", 0, np.empty((0, 4), np.int64)),
        SongTrack(2, 9, "", 0, np.empty((0, 4), np.int64)),
        SongTrack(3, 9, "\0\n", 0, np.array([(*note, 90) for note in wide])),
        SongTrack(4, 2, "late", 0, np.array([(9 * BAR, 99 * BAR, 60, 90)])),  # after the last bar
    ]
    starts = BAR * np.arange(3, dtype=np.float64)
    png = draw_piano_roll(tracks, starts, 4, {})
    assert png == draw_piano_roll(tracks, starts, 4, {})
    assert draw_piano_roll([], starts, 4, {})
