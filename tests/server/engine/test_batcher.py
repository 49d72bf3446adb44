"""The batcher alone, in front of an engine whose timing a test controls."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from muserve.errors import DeadlineExceededError, QueueFullError, UnavailableError
from muserve_server.engine import Batcher, BatcherOptions, EngineError, RunStats
from tests.server.waiting import until

WAIT_S = 20


class GatedEngine:
    """Doubles its rows. Runs only while its gate is open, fails on negative values, keeps the batches that it saw."""

    def __init__(self, *, is_open: bool = True) -> None:
        self.batches: list[NDArray[Any]] = []
        self.gate = threading.Event()
        self.closings = 0
        if is_open:
            self.gate.set()

    def run(self, inputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        rows = inputs["x"]
        self.batches.append(rows.copy())
        assert self.gate.wait(WAIT_S)
        if (rows < 0).any():
            raise EngineError("negative")
        return {"y": rows * 2}

    def close(self) -> None:
        self.closings += 1

    def sizes(self) -> list[int]:
        return [len(batch) for batch in self.batches]


def rows(*values: float, width: int = 1) -> dict[str, NDArray[np.float32]]:
    return {"x": np.repeat(np.array(values, np.float32)[:, None], width, axis=1)}


async def started(engine: GatedEngine, **options: Any) -> Batcher:
    batcher = Batcher([engine], BatcherOptions(**options))
    batcher.start()
    return batcher


async def occupy(batcher: Batcher, engine: GatedEngine) -> asyncio.Task[Any]:
    """Puts a row into the engine, which then holds everything else up until its gate opens."""
    task = asyncio.create_task(batcher.infer(rows(0)))
    await until(lambda: engine.batches)
    return task


async def test_an_idle_engine_starts_at_once_and_rows_gather_while_it_is_busy() -> None:
    engine = GatedEngine(is_open=False)
    batcher = await started(engine)
    stats = [RunStats() for _ in range(5)]
    first = await occupy(batcher, engine)
    others = [asyncio.create_task(batcher.infer(rows(i), stats=stats[i])) for i in range(5)]
    await until(lambda: batcher.queued_rows == 5)
    engine.gate.set()
    results = await asyncio.gather(first, *others)
    assert engine.sizes() == [1, 5]
    assert [float(result["y"][0, 0]) for result in results] == [0, 0, 2, 4, 6, 8]
    assert {item.batch_rows for item in stats} == {5}
    assert all(item.queue_s > 0 and item.compute_s >= 0 for item in stats)
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


async def let_others_go_on() -> None:
    for _ in range(50):
        await asyncio.sleep(0)


def until_above(most: float) -> Callable[[Any], Any]:
    """A step that goes on with the outputs until they are above a number."""
    return lambda outputs: None if outputs["y"].max() > most else {"x": outputs["y"]}


async def test_steps_go_on_in_company_until_they_end() -> None:
    engine = GatedEngine(is_open=False)
    batcher = await started(engine)
    first = await occupy(batcher, engine)
    stats = RunStats()
    tasks = [
        asyncio.create_task(batcher.infer(rows(1, 2), step=until_above(10), stats=stats)),
        asyncio.create_task(batcher.infer(rows(5), step=until_above(30))),
    ]
    await until(lambda: batcher.queued_rows == 3)
    engine.gate.set()
    await first
    assert [result["y"][:, 0].tolist() for result in await asyncio.gather(*tasks)] == [[8, 16], [40]]
    assert engine.sizes() == [1, 3, 3, 3]
    assert stats.batch_rows == 3
    assert batcher.queued_rows == 0
    await batcher.close()


async def test_a_step_may_bring_fewer_rows_and_its_fault_is_its_own() -> None:
    engine = GatedEngine()
    batcher = await started(engine)

    def fewer(outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
        return {"x": outputs["y"][:-1]} if len(outputs["y"]) > 1 else None

    async def fails(error: Exception) -> Any:
        def wrong(_: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]] | None:
            raise error

        first = await occupy(batcher, engine)
        guilty = asyncio.create_task(batcher.infer(rows(1), step=wrong))
        neighbour = asyncio.create_task(batcher.infer(rows(2)))
        await until(lambda: batcher.queued_rows == 2)
        engine.gate.set()
        await first
        assert (await neighbour)["y"].tolist() == [[4]]
        return (await asyncio.gather(guilty, return_exceptions=True))[0]

    assert (await batcher.infer(rows(1, 2, 3), step=fewer))["y"].tolist() == [[8]]
    for error, wanted in ((ValueError("no numbers"), ValueError), (StopIteration(), RuntimeError)):
        engine.gate.clear()
        engine.batches.clear()
        assert isinstance(await fails(error), wanted)
    with pytest.raises(ValueError, match="must have the same number of rows"):
        await batcher.infer(rows(1), step=lambda _: {"x": np.zeros((0, 1), np.float32)})
    with pytest.raises(EngineError, match="negative"):
        await batcher.infer(rows(1), step=lambda outputs: {"x": -outputs["y"]})
    assert (await batcher.infer(rows(4)))["y"].tolist() == [[8]]
    await batcher.close()


@pytest.mark.parametrize("how", ["cancelled", "expired", "closed"])
async def test_steps_that_nobody_waits_for_stop(how: str) -> None:
    engine = GatedEngine()
    batcher = await started(engine)
    steps = 0

    def forever(outputs: Mapping[str, NDArray[Any]]) -> dict[str, NDArray[Any]]:
        nonlocal steps
        steps += 1
        return {"x": outputs["y"] * 0}

    deadline = time.monotonic() + 0.05 if how == "expired" else None
    task = asyncio.create_task(batcher.infer(rows(1), deadline=deadline, step=forever))
    if how != "expired":
        await until(lambda: steps > 3)
    if how == "cancelled":
        task.cancel()
    if how == "closed":
        await batcher.close()
    wanted = {"cancelled": asyncio.CancelledError, "expired": DeadlineExceededError, "closed": UnavailableError}[how]
    with pytest.raises(wanted):
        await task
    await until(lambda: batcher.queued_rows == 0)
    done = steps
    await let_others_go_on()
    assert steps <= done + 1  # one may have been running
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
    batcher = await started(engine)
    first = await occupy(batcher, engine)
    stats = RunStats()
    unwanted = asyncio.create_task(batcher.infer(rows(1, 2), stats=stats))
    wanted = asyncio.create_task(batcher.infer(rows(3)))
    await until(lambda: batcher.queued_rows == 3)
    unwanted.cancel()
    await asyncio.gather(unwanted, return_exceptions=True)
    assert batcher.queued_rows == 1
    assert stats.queue_s > 0  # a cancelled call has its share of the queue's time
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
    batcher = await started(engine)
    first = await occupy(batcher, engine)
    late = asyncio.create_task(batcher.infer(rows(1), deadline=time.monotonic()))
    on_time = asyncio.create_task(batcher.infer(rows(2), deadline=time.monotonic() + WAIT_S))
    await until(lambda: batcher.queued_rows == 2)
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


async def test_max_delay_waits_for_a_fuller_batch_but_not_past_a_full_one() -> None:
    engine = GatedEngine()
    batcher = await started(engine, max_batch_rows=3, max_delay_s=WAIT_S)
    tasks = [asyncio.create_task(batcher.infer(rows(i))) for i in range(3)]
    async with asyncio.timeout(WAIT_S / 2):  # a full batch does not wait
        await asyncio.gather(*tasks)
    assert engine.sizes() == [3]
    await batcher.close()


async def test_max_delay_ends() -> None:
    engine = GatedEngine()
    batcher = await started(engine, max_delay_s=0.02)
    stats = RunStats()
    await batcher.infer(rows(1), stats=stats)
    assert stats.queue_s >= 0.02
    await batcher.close()


async def test_requests_in_quick_succession_wait_for_each_other_until_the_batch_is_full() -> None:
    engine = GatedEngine()
    batcher = await started(engine, max_batch_rows=4, busy_delay_s=4 * WAIT_S, busy_requests=1)
    tasks = [asyncio.create_task(batcher.infer(rows(i))) for i in range(3)]
    await until(lambda: batcher.queued_rows == 3)
    assert engine.sizes() == []
    await asyncio.gather(*tasks, batcher.infer(rows(3)))
    assert engine.sizes() == [4]
    await batcher.close()


async def test_a_pause_ends_the_wait_of_requests_in_quick_succession() -> None:
    engine = GatedEngine()
    batcher = await started(engine, busy_delay_s=0.08, busy_requests=1)
    stats = RunStats()
    await asyncio.gather(batcher.infer(rows(0), stats=stats), batcher.infer(rows(1)))
    assert engine.sizes() == [2]
    assert stats.queue_s >= 0.02
    await batcher.close()


async def test_a_few_callers_do_not_wait_for_each_other() -> None:
    engine = GatedEngine()
    batcher = await started(engine, busy_delay_s=4 * WAIT_S)
    async with asyncio.timeout(WAIT_S / 2):
        await asyncio.gather(*(batcher.infer(rows(i)) for i in range(4)))
    await batcher.close()


async def test_one_caller_and_later_steps_do_not_wait() -> None:
    """A step of a running request also ends the wait of others."""
    engine = GatedEngine()
    batcher = await started(engine, busy_delay_s=4 * WAIT_S, busy_requests=1)
    async with asyncio.timeout(WAIT_S / 2):
        for step in range(4):
            await batcher.infer(rows(step), admitted=step % 2 == 1)
        assert engine.sizes() == [1, 1, 1, 1]
        waiting = [asyncio.create_task(batcher.infer(rows(i))) for i in range(2)]
        await until(lambda: batcher.queued_rows == 2)
        await asyncio.gather(*waiting, batcher.infer(rows(2), admitted=True))
    assert engine.sizes()[4:] == [3]
    await batcher.close()


async def test_closing_does_not_wait_for_a_pause() -> None:
    engine = GatedEngine()
    batcher = await started(engine, busy_delay_s=4 * WAIT_S, busy_requests=1)
    tasks = [asyncio.create_task(batcher.infer(rows(i))) for i in range(2)]
    await until(lambda: batcher.queued_rows == 2)
    async with asyncio.timeout(WAIT_S / 2):
        await batcher.close()
    results = await asyncio.gather(*tasks, return_exceptions=True)
    assert all(isinstance(result, UnavailableError) for result in results)


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


requests = st.lists(
    st.tuples(
        st.integers(1, 20),  # rows
        st.integers(1, 3),  # bucket
        st.sampled_from(["good"] * 6 + ["steps"] * 2 + ["bad", "cancelled", "expired"]),
    ),
    min_size=1,
    max_size=25,
)


def three_steps() -> Callable[[Any], Any]:
    """A step that goes on twice, each time with a thousand more, so that no other request has such a row."""
    left = [1, 1]
    return lambda outputs: {"x": outputs["y"] + 1000 * left.pop()} if left else None


@given(requests=requests, max_batch_rows=st.integers(1, 16), engine_count=st.integers(1, 3))
@settings(deadline=None, max_examples=80)
def test_any_mix_of_requests(requests: list[tuple[int, int, str]], max_batch_rows: int, engine_count: int) -> None:
    engines = [GatedEngine(is_open=False) for _ in range(engine_count)]

    async def run() -> list[Any]:
        batcher = Batcher(engines, BatcherOptions(max_batch_rows, max_queue_rows=10_000))
        batcher.start()
        blockers = []
        for index in range(engine_count):  # every engine is busy while the requests come
            blockers.append(asyncio.create_task(batcher.infer(rows(*[0] * max_batch_rows, width=9))))
            await until(lambda wanted=index: sum(len(engine.batches) for engine in engines) == wanted + 1)  # type: ignore[misc]
        tasks = []
        for number, (count, width, kind) in enumerate(requests, start=1):
            values = (
                -rows(*[number] * count, width=width)["x"]
                if kind == "bad"
                else rows(*[number] * count, width=width)["x"]
            )
            deadline = time.monotonic() if kind == "expired" else None
            step = three_steps() if kind == "steps" else None
            tasks.append(asyncio.create_task(batcher.infer({"x": values}, deadline=deadline, step=step)))
        await until(lambda: batcher.queued_rows == sum(count for count, _, _ in requests))
        for task, (_, _, kind) in zip(tasks, requests, strict=True):
            if kind == "cancelled":
                task.cancel()
        await asyncio.sleep(0)
        for engine in engines:
            engine.gate.set()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        await asyncio.gather(*blockers)
        assert batcher.queued_rows == 0
        await batcher.close()
        return results

    results = asyncio.run(run())
    for number, (result, (count, width, kind)) in enumerate(zip(results, requests, strict=True), start=1):
        if kind == "good":
            assert np.array_equal(result["y"], np.full((count, width), 2 * number, np.float32))
        elif kind == "steps":
            assert np.array_equal(result["y"], np.full((count, width), 2 * (2 * (2 * number + 1000) + 1000)))
        else:
            wanted = {"bad": EngineError, "cancelled": asyncio.CancelledError, "expired": DeadlineExceededError}[kind]
            assert isinstance(result, wanted)
    dropped = {number for number, (_, _, kind) in enumerate(requests, start=1) if kind in ("cancelled", "expired")}
    for engine in engines:
        for batch in engine.batches:
            assert len(batch) <= max_batch_rows
            assert not dropped & set(np.abs(batch[:, 0]).astype(int))
    if engine_count == 1 and all(kind not in ("bad", "steps") for _, _, kind in requests):
        for width in (1, 2, 3):
            order = [int(v) for batch in engines[0].batches if batch.shape[1] == width for v in batch[:, 0]]
            assert order == sorted(order)  # first come, first served within a bucket
