"""How long an idle engine waits for a fuller batch, by a clock that the tests turn."""

from __future__ import annotations

import asyncio

import pytest

from muserve.errors import UnavailableError
from muserve_server.engine import RunStats
from tests.server.engine.engines import GatedEngine, TurnedClock, let_others_go_on, rows, started
from tests.server.waiting import until


async def test_max_delay_waits_for_a_fuller_batch_but_not_past_a_full_one() -> None:
    engine, clock = GatedEngine(), TurnedClock()
    batcher = await started(engine, clock, max_batch_rows=3, max_delay_s=0.02)
    tasks = [asyncio.create_task(batcher.infer(rows(i))) for i in range(3)]
    await asyncio.gather(*tasks)  # a full batch does not wait
    assert engine.sizes() == [3]
    await batcher.close()


async def test_max_delay_ends() -> None:
    engine, clock = GatedEngine(), TurnedClock()
    batcher = await started(engine, clock, max_delay_s=0.02)
    stats = RunStats()
    task = asyncio.create_task(batcher.infer(rows(1), stats=stats))
    await until(lambda: clock.waits)
    clock.turn(0.019)
    await let_others_go_on()
    assert engine.sizes() == []
    clock.turn(0.001)
    await task
    assert stats.queue_s == pytest.approx(0.02)
    await batcher.close()


async def test_requests_in_quick_succession_wait_for_each_other_until_the_batch_is_full() -> None:
    engine, clock = GatedEngine(), TurnedClock()
    batcher = await started(engine, clock, max_batch_rows=4, busy_delay_s=0.08, busy_requests=1)
    tasks = [asyncio.create_task(batcher.infer(rows(i))) for i in range(3)]
    await until(lambda: batcher.queued_rows == 3)
    assert engine.sizes() == []
    await asyncio.gather(*tasks, batcher.infer(rows(3)))
    assert engine.sizes() == [4]
    await batcher.close()


async def test_a_pause_ends_the_wait_of_requests_in_quick_succession() -> None:
    engine, clock = GatedEngine(), TurnedClock()
    batcher = await started(engine, clock, busy_delay_s=0.08, busy_requests=1)
    stats = RunStats()
    tasks = [asyncio.create_task(batcher.infer(rows(i), stats=stats)) for i in range(2)]
    await until(lambda: clock.waits)
    assert clock.waits == pytest.approx([0.02])
    clock.turn(0.02)
    await asyncio.gather(*tasks)
    assert engine.sizes() == [2]
    assert stats.queue_s == pytest.approx(2 * 0.02)
    await batcher.close()


async def test_the_oldest_of_requests_in_quick_succession_waits_no_longer_than_the_delay() -> None:
    engine, clock = GatedEngine(), TurnedClock()
    batcher = await started(engine, clock, busy_delay_s=0.08, busy_requests=1)
    stats = RunStats()
    tasks = [asyncio.create_task(batcher.infer(rows(0), stats=stats))]
    for number in range(1, 6):
        tasks.append(asyncio.create_task(batcher.infer(rows(number))))
        await until(lambda wanted=number: batcher.queued_rows == wanted + 1)  # type: ignore[misc]
        assert engine.sizes() == []
        clock.turn(0.016)
    await asyncio.gather(*tasks)
    assert engine.sizes() == [6]
    assert stats.queue_s == pytest.approx(0.08)
    await batcher.close()


async def test_a_few_callers_do_not_wait_for_each_other() -> None:
    engine, clock = GatedEngine(), TurnedClock()
    batcher = await started(engine, clock, busy_delay_s=0.08)
    await asyncio.gather(*(batcher.infer(rows(i)) for i in range(4)))
    assert clock.waits == []
    await batcher.close()


async def test_one_caller_and_later_steps_do_not_wait() -> None:
    """A step of a running request also ends the wait of others."""
    engine, clock = GatedEngine(), TurnedClock()
    batcher = await started(engine, clock, busy_delay_s=0.08, busy_requests=1)
    for step in range(4):
        await batcher.infer(rows(step), admitted=step % 2 == 1)
    assert engine.sizes() == [1, 1, 1, 1]
    assert clock.waits == []
    waiting = [asyncio.create_task(batcher.infer(rows(i))) for i in range(2)]
    await until(lambda: batcher.queued_rows == 2)
    await asyncio.gather(*waiting, batcher.infer(rows(2), admitted=True))
    assert engine.sizes()[4:] == [3]
    await batcher.close()


async def test_closing_does_not_wait_for_a_pause() -> None:
    engine, clock = GatedEngine(), TurnedClock()
    batcher = await started(engine, clock, busy_delay_s=0.08, busy_requests=1)
    tasks = [asyncio.create_task(batcher.infer(rows(i))) for i in range(2)]
    await until(lambda: batcher.queued_rows == 2)
    await batcher.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, UnavailableError) for result in results)
