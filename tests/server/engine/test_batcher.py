"""The batcher alone, in front of an engine whose timing a test controls."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from muserve.errors import DeadlineExceededError, QueueFullError, UnavailableError
from muserve_server.engine import Batcher, BatcherOptions, EngineError, RunStats
from tests.server.engine.engines import GatedEngine, TurnedClock, let_others_go_on, occupy, rows, started
from tests.server.waiting import WAIT_S, until


async def test_an_idle_engine_starts_at_once_and_rows_gather_while_it_is_busy() -> None:
    engine = GatedEngine(is_open=False)
    clock = TurnedClock()
    batcher = await started(engine, clock)
    stats = [RunStats() for _ in range(5)]
    first = await occupy(batcher, engine)
    others = [asyncio.create_task(batcher.infer(rows(i), stats=stats[i])) for i in range(5)]
    await until(lambda: batcher.queued_rows == 5)
    clock.turn(0.5)
    engine.gate.set()
    results = await asyncio.gather(first, *others)
    assert engine.sizes() == [1, 5]
    assert [float(result["y"][0, 0]) for result in results] == [0, 0, 2, 4, 6, 8]
    assert {item.batch_rows for item in stats} == {5}
    assert all(item.queue_s == 0.5 and item.compute_s >= 0 for item in stats)
    await batcher.close()


async def test_an_engine_that_stands_twice_runs_two_batches_at_a_time() -> None:
    engine = GatedEngine(is_open=False)
    batcher = Batcher([engine, engine], BatcherOptions(max_batch_rows=1))
    batcher.start()
    task = asyncio.create_task(batcher.infer(rows(1, 2, 3)))
    await until(lambda: len(engine.batches) == 2)
    assert batcher.queued_rows == 1
    engine.gate.set()
    np.testing.assert_array_equal((await task)["y"][:, 0], [2, 4, 6])
    await batcher.close()
    assert engine.closings == 1


async def test_a_second_run_begins_with_what_gains_nothing_by_waiting() -> None:
    engine = GatedEngine(is_open=False)
    batcher = Batcher([engine] * 4, BatcherOptions(max_batch_rows=3))
    batcher.start()
    tasks = [await occupy(batcher, engine), asyncio.create_task(batcher.infer(rows(1, 2)))]
    await until(lambda: batcher.queued_rows == 2)
    await let_others_go_on()
    assert engine.sizes() == [1]  # two rows may yet become a full batch
    tasks.append(asyncio.create_task(batcher.infer(rows(9, width=2))))  # shares no run with them
    await until(lambda: len(engine.batches) == 2)
    tasks.append(asyncio.create_task(batcher.infer(rows(3, 4))))  # a full batch, and the rest of a request
    await until(lambda: len(engine.batches) == 4)
    assert sorted(engine.sizes()) == [1, 1, 1, 3]
    engine.gate.set()
    results = [result["y"][:, 0].tolist() for result in await asyncio.gather(*tasks)]
    assert results == [[0], [2, 4], [18], [6, 8]]
    await batcher.close()


async def test_a_large_request_spans_runs_and_comes_back_in_order() -> None:
    engine = GatedEngine()
    batcher = await started(engine, max_batch_rows=4)
    stats = RunStats()
    result = await batcher.infer(rows(*range(11)), stats=stats)
    assert result["y"][:, 0].tolist() == [2 * i for i in range(11)]
    assert engine.sizes() == [4, 4, 3]
    assert stats.batch_rows == 4
    await batcher.close()


async def test_a_large_request_does_not_starve_another_bucket() -> None:
    """What is left of a request that spans runs goes behind those that came before it."""
    engine = GatedEngine(is_open=False)
    batcher = await started(engine, max_batch_rows=4)
    tasks = [await occupy(batcher, engine)]
    requests = (rows(1), rows(2, width=2), rows(*range(20)))
    tasks += [asyncio.create_task(batcher.infer(request)) for request in requests]
    await until(lambda: batcher.queued_rows == 22)
    engine.gate.set()
    await asyncio.gather(*tasks)
    assert [batch.shape[1] for batch in engine.batches][:4] == [1, 1, 2, 1]
    await batcher.close()


async def test_a_full_queue_refuses_at_once_and_says_when_to_try_again() -> None:
    engine = GatedEngine(is_open=False)
    batcher = await started(engine, max_queue_rows=3)
    first = await occupy(batcher, engine)
    waiting = asyncio.create_task(batcher.infer(rows(1, 2, 3)))
    await until(lambda: batcher.queued_rows == 3)
    with pytest.raises(QueueFullError, match="3 rows wait and 1 more came") as caught:
        await batcher.infer(rows(4))
    assert caught.value.retry_after_s > 0
    later_step = asyncio.create_task(batcher.infer(rows(5), admitted=True))
    engine.gate.set()
    await asyncio.gather(first, waiting, later_step)
    assert (await batcher.infer(rows(4)))["y"].tolist() == [[8]]
    await batcher.close()


async def test_only_the_guilty_request_of_a_batch_fails() -> None:
    engine = GatedEngine(is_open=False)
    runs: list[int] = []
    batcher = Batcher([engine], BatcherOptions(), on_run=lambda count, _: runs.append(count))
    batcher.start()
    tasks = [await occupy(batcher, engine)]
    tasks += [asyncio.create_task(batcher.infer(rows(value))) for value in (1, -1, 3)]
    await until(lambda: batcher.queued_rows == 3)
    engine.gate.set()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert [isinstance(result, EngineError) for result in results] == [False, False, True, False]
    assert results[3]["y"].tolist() == [[6]]  # type: ignore[index]
    assert runs == [1, 3, 1, 1, 1]  # each run is counted as what it was
    assert (await batcher.infer(rows(7)))["y"].tolist() == [[14]]
    await batcher.close()


async def test_what_is_left_of_a_failed_request_is_not_run() -> None:
    engine = GatedEngine()
    batcher = await started(engine, max_batch_rows=4)
    with pytest.raises(EngineError):
        await batcher.infer(rows(*[-1] * 20))
    assert batcher.queued_rows == 0
    assert (await batcher.infer(rows(7)))["y"].tolist() == [[14]]
    assert engine.sizes() == [4, 1]
    await batcher.close()


async def test_cancelled_rows_are_not_run() -> None:
    engine = GatedEngine(is_open=False)
    clock = TurnedClock()
    batcher = await started(engine, clock)
    first = await occupy(batcher, engine)
    stats = RunStats()
    unwanted = asyncio.create_task(batcher.infer(rows(1, 2), stats=stats))
    wanted = asyncio.create_task(batcher.infer(rows(3)))
    await until(lambda: batcher.queued_rows == 3)
    clock.turn(0.5)
    unwanted.cancel()
    await asyncio.gather(unwanted, return_exceptions=True)
    assert batcher.queued_rows == 1
    assert stats.queue_s == 0.5  # a cancelled call has its share of the queue's time
    engine.gate.set()
    await asyncio.gather(first, wanted)
    assert [batch[:, 0].tolist() for batch in engine.batches] == [[0], [3]]
    await batcher.close()


async def test_of_a_failed_batch_the_cancelled_are_not_run_again() -> None:
    failing = threading.Event()

    class SlowToFail(GatedEngine):
        def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            if len(inputs["x"]) > 1:
                failing.set()
                assert cancelled.wait(WAIT_S)
            return super().run(inputs)

    cancelled = threading.Event()
    engine = SlowToFail(is_open=False)
    batcher = await started(engine)
    first = await occupy(batcher, engine)
    bad, unwanted = (asyncio.create_task(batcher.infer(rows(value))) for value in (-1, 5))
    await until(lambda: batcher.queued_rows == 2)
    engine.gate.set()
    await until(failing.is_set)
    unwanted.cancel()
    await asyncio.gather(first, unwanted, return_exceptions=True)
    cancelled.set()
    with pytest.raises(EngineError):
        await bad
    assert [batch[:, 0].tolist() for batch in engine.batches] == [[0], [-1, 5], [-1]]
    await batcher.close()


async def test_expired_rows_are_not_run() -> None:
    engine = GatedEngine(is_open=False)
    clock = TurnedClock()
    batcher = await started(engine, clock)
    first = await occupy(batcher, engine)
    late = asyncio.create_task(batcher.infer(rows(1), deadline=clock.now_s() + 1))
    on_time = asyncio.create_task(batcher.infer(rows(2), deadline=clock.now_s() + 2))
    await until(lambda: batcher.queued_rows == 2)
    clock.turn(1)
    engine.gate.set()
    with pytest.raises(DeadlineExceededError):
        await late
    await asyncio.gather(first, on_time)
    assert [batch[:, 0].tolist() for batch in engine.batches] == [[0], [2]]
    assert batcher.queued_rows == 0
    await batcher.close()


async def test_closing_fails_what_waits_and_answers_what_runs() -> None:
    engine = GatedEngine(is_open=False)
    batcher = await started(engine)
    running = await occupy(batcher, engine)
    waiting = asyncio.create_task(batcher.infer(rows(1)))
    await until(lambda: batcher.queued_rows == 1)
    closing = asyncio.create_task(batcher.close())
    with pytest.raises(UnavailableError):
        await waiting
    assert engine.closings < 1
    engine.gate.set()
    await closing
    assert (await running)["y"].tolist() == [[0]]
    assert engine.closings == 1
    with pytest.raises(UnavailableError):
        await batcher.infer(rows(1))


async def test_closing_twice_or_unstarted_is_no_error() -> None:
    batcher = Batcher([GatedEngine()], BatcherOptions())
    await batcher.close()
    await batcher.close()


@pytest.mark.parametrize(
    "tensors",
    [
        {},
        {"x": np.zeros((0, 1), np.float32)},
        {"x": np.zeros((), np.float32)},
        {"x": np.zeros((2, 1), np.float32), "z": np.zeros((3, 1), np.float32)},
    ],
)
async def test_tensors_that_are_no_rows_are_refused_before_they_meet_others(tensors: dict[str, Any]) -> None:
    engine = GatedEngine()
    batcher = await started(engine)
    with pytest.raises(ValueError, match="the same number of rows, at least one"):
        await batcher.infer(tensors)
    assert (await batcher.infer(rows(1)))["y"].tolist() == [[2]]
    await batcher.close()


async def test_an_engine_that_breaks_its_promise_fails_its_rows_alone() -> None:
    class Liar(GatedEngine):
        def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
            outputs = super().run(inputs)
            if 1 in inputs["x"]:
                return {"y": outputs["y"][:-1]}
            if 2 in inputs["x"]:
                raise ZeroDivisionError
            return outputs

    batcher = await started(Liar())
    with pytest.raises(EngineError, match="1 rows went in"):
        await batcher.infer(rows(1))
    with pytest.raises(EngineError, match="ZeroDivisionError"):
        await batcher.infer(rows(2))
    assert (await batcher.infer(rows(3)))["y"].tolist() == [[6]]
    await batcher.close()


async def test_a_failing_observer_does_not_end_the_worker() -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("observer")

    batcher = Batcher([GatedEngine()], BatcherOptions(), on_run=fail)
    batcher.start()
    for _ in range(2):
        with pytest.raises(EngineError, match="observer"):
            await batcher.infer(rows(1))
    await batcher.close()
