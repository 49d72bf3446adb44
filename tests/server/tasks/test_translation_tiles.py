"""Tiles: every pixel comes back where it was, whatever the size; and the gate that bounds how many are in work."""

from __future__ import annotations

import asyncio

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from muserve.errors import QueueFullError
from muserve_server.tasks.translation.gate import PixelGate
from muserve_server.tasks.translation.pictures import mean_absolute_error, side_by_side, side_by_side_width
from muserve_server.tasks.translation.tiles import Quilt, Tiling
from tests.server.pictorial import Pixels, scene

LEVELS = {"black": -1.0, "white": 1.0}


def sewn(pixels: Pixels, tiling: Tiling, step: int) -> Pixels:
    quilt = Quilt(tiling)
    for first in range(0, tiling.count, step):
        quilt.add(tiling.cut(pixels, first, min(first + step, tiling.count), **LEVELS), **LEVELS)
    return quilt.pixels


@settings(max_examples=60)
@given(
    height=st.integers(1, 90), width=st.integers(1, 90), tile=st.integers(1, 32), share=st.floats(0, 0.49),
    step=st.integers(1, 9),
)  # fmt: skip
def test_what_is_cut_is_sewn_together_again(height: int, width: int, tile: int, share: float, step: int) -> None:
    pixels = scene(height, width)
    tiling = Tiling(height, width, tile, int(tile * share))
    np.testing.assert_array_equal(sewn(pixels, tiling, step), pixels)


def test_an_image_no_larger_than_a_tile_is_one_tile() -> None:
    for height, width in ((1, 1), (32, 32), (1, 32), (31, 17)):
        assert Tiling(height, width, 32, 12).count == 1
    assert Tiling(33, 32, 32, 12).count == 2
    assert Tiling(52, 52, 32, 12).count == 4
    assert Tiling(53, 52, 32, 12).count == 6


def test_tiles_lie_at_multiples_of_the_stride() -> None:
    pixels = scene(80, 60)
    tiling = Tiling(80, 60, 32, 12)
    tiles = tiling.cut(pixels, 0, tiling.count, black=0, white=255)
    assert tiles.shape == (12, 3, 32, 32)
    for index, tile in enumerate(tiles):
        top, left = (20 * place for place in divmod(index, 3))
        inside = pixels[top : top + 32, left : left + 32].transpose(2, 0, 1)
        np.testing.assert_array_equal(tile[:, : inside.shape[1], : inside.shape[2]], inside)
    turned = Tiling(60, 80, 32, 12).cut(pixels.swapaxes(0, 1), 0, 12, black=0, white=255)
    np.testing.assert_array_equal(turned, tiles.swapaxes(2, 3))


def test_beyond_its_end_an_image_goes_on_by_reflection() -> None:
    pixels = scene(3, 5)
    tile = Tiling(3, 5, 8, 0).cut(pixels, 0, 1, black=0, white=255)[0].transpose(1, 2, 0)
    np.testing.assert_array_equal(tile, np.pad(pixels, ((0, 5), (0, 3), (0, 0)), mode="reflect"))
    dot = Tiling(1, 1, 8, 0).cut(pixels[:1, :1], 0, 1, black=0, white=255)
    np.testing.assert_array_equal(dot[0], np.broadcast_to(pixels[0, 0][:, None, None], (3, 8, 8)))


def test_black_and_white_may_be_any_two_values() -> None:
    pixels = np.array([[[0, 255, 51]]], np.uint8)
    tiling = Tiling(1, 1, 4, 0)
    tiles = tiling.cut(pixels, 0, 1, black=2, white=-3)
    np.testing.assert_allclose(tiles[0, :, 0, 0], [2, -3, 1])
    quilt = Quilt(tiling)
    quilt.add(tiles * 2, black=2, white=-3)  # beyond both ends
    assert quilt.pixels.tolist() == [[[0, 255, 0]]]


def test_neighbours_fade_into_each_other() -> None:
    quilt = Quilt(Tiling(8, 14, 8, 2))
    quilt.add(np.stack([np.full((3, 8, 8), 0.0), np.full((3, 8, 8), 100.0)]).astype(np.float32), black=0, white=255)
    assert quilt.pixels[0, :, 0].tolist() == [0] * 6 + [15, 85] + [100] * 6


def test_a_long_image_is_sewn_with_little_memory() -> None:
    for height, width in ((4000, 20), (20, 4000)):
        quilt = Quilt(Tiling(height, width, 16, 4))
        assert quilt._band.shape == (16, 28, 3)


def test_pictures_side_by_side() -> None:
    first, second = scene(4, 6), scene(4, 6, 1)
    sheet = side_by_side([first, second], None)
    assert sheet.shape == (4, side_by_side_width(6, 2), 3) == (4, 20, 3)
    np.testing.assert_array_equal(sheet[:, :6], first)
    np.testing.assert_array_equal(sheet[:, 14:], second)
    assert (sheet[:, 6:14] == 255).all()
    clear = side_by_side([first, second], np.full((4, 6), 9, np.uint8))
    assert clear[0, :, 3].tolist() == [9] * 6 + [0] * 8 + [9] * 6


def test_the_error_of_a_cycle_leaves_out_what_cannot_be_seen() -> None:
    first, second = np.zeros((300, 2, 3), np.uint8), np.zeros((300, 2, 3), np.uint8)
    second[:, 0] = 30
    alpha = np.full((300, 2), 255, np.uint8)
    assert mean_absolute_error(first, second, None) == mean_absolute_error(second, first, alpha) == 15
    alpha[:, 1] = 0
    assert mean_absolute_error(first, second, alpha) == 30
    assert mean_absolute_error(first, second, np.zeros_like(alpha)) == 0


class Guest:
    """A call that holds pixels until it is told to go."""

    def __init__(self, gate: PixelGate, pixels: int) -> None:
        self.inside = False
        self.go = asyncio.Event()
        self.task = asyncio.create_task(self._stay(gate, pixels))

    async def _stay(self, gate: PixelGate, pixels: int) -> None:
        async with gate.hold(pixels):
            self.inside = True
            await self.go.wait()
        self.inside = False

    async def leave(self) -> None:
        self.go.set()
        await self.task
        await settle()


async def settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_those_that_do_not_fit_wait_in_the_order_in_which_they_came() -> None:
    gate = PixelGate(10)
    guests = [Guest(gate, pixels) for pixels in (6, 4, 5, 1, 100, 1)]
    await settle()
    assert [guest.inside for guest in guests] == [True, True, False, False, False, False]
    await guests[1].leave()
    assert not guests[3].inside, "it may not pass the one before it"
    await guests[0].leave()
    assert [guest.inside for guest in guests[2:]] == [True, True, False, False]
    await guests[2].leave()
    await guests[3].leave()
    assert [guest.inside for guest in guests[4:]] == [True, False], "what is too large is alone"
    await guests[4].leave()
    assert guests[5].inside
    await guests[5].leave()
    assert gate.pixels == 0


@pytest.mark.parametrize("when", ["waiting", "just let in", "passed over", "inside"])
async def test_a_cancelled_call_takes_no_room(when: str) -> None:
    gate = PixelGate(10)
    first, second, third = (Guest(gate, pixels) for pixels in (10, 10, 3))
    await settle()
    if when == "waiting":
        second.task.cancel()
        await settle()
        await first.leave()
    elif when == "just let in":
        first.go.set()
        await first.task
        second.task.cancel()
    elif when == "passed over":
        second.task.cancel()
        await first.leave()
    else:
        await first.leave()
        assert second.inside
        second.task.cancel()
    await settle()
    assert second.task.cancelled()
    assert third.inside
    await third.leave()
    assert gate.pixels == 0


async def test_the_failure_of_a_call_frees_its_room() -> None:
    gate = PixelGate(1)
    with pytest.raises(ZeroDivisionError):
        async with gate.hold(5):
            raise ZeroDivisionError
    assert gate.pixels == 0


async def test_those_beyond_what_may_wait_are_sent_away_at_once() -> None:
    gate = PixelGate(100)

    async def enter(pixels: int) -> None:
        async with gate.hold(pixels):
            pass

    async with gate.hold(100):
        waiting = [asyncio.create_task(enter(800)) for _ in range(2)]
        await asyncio.sleep(0)
        with pytest.raises(QueueFullError, match=r"1,600 pixels wait to be translated; allowed: 1,600") as caught:
            await enter(1)
        assert caught.value.retry_after_s > 0
    await asyncio.gather(*waiting)
    assert gate.pixels == 0
