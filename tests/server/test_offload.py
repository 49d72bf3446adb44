"""Jobs in threads: each gets its own result or error, whatever happens to the others."""

from __future__ import annotations

import asyncio
import threading

import pytest

from muserve_server.offload import Offloader
from tests.server.waiting import WAIT_S, until


async def test_many_jobs_each_get_their_own_result_or_error() -> None:
    offloader = Offloader(2)

    def job(number: int) -> int:
        if number % 7 == 3:
            raise KeyError(number)
        return number * number

    results = await asyncio.gather(*(offloader.run(job, number) for number in range(2000)), return_exceptions=True)
    for number, result in enumerate(results):
        if number % 7 == 3:
            assert isinstance(result, KeyError)
            assert result.args == (number,)
        else:
            assert result == number * number
    await offloader.close()


async def test_it_runs_off_the_loop_and_on_all_threads() -> None:
    offloader = Offloader(2)
    barrier = threading.Barrier(2, timeout=WAIT_S)  # passes only if two jobs run at a time
    names = await asyncio.gather(
        *(offloader.run(lambda: (barrier.wait(), threading.current_thread().name)[1]) for _ in range(2))
    )
    assert len(set(names)) == 2
    assert threading.current_thread().name not in names
    await offloader.close()


async def test_a_cancelled_job_that_waits_is_not_run() -> None:
    offloader = Offloader(1)
    running, finish = threading.Event(), threading.Event()
    ran: list[str] = []

    def block() -> None:
        running.set()
        assert finish.wait(WAIT_S)

    blocker = asyncio.create_task(offloader.run(block))
    await until(running.is_set)
    unwanted = asyncio.create_task(offloader.run(ran.append, "unwanted"))
    wanted = asyncio.create_task(offloader.run(ran.append, "wanted"))
    await asyncio.sleep(0)
    unwanted.cancel()
    await asyncio.gather(unwanted, return_exceptions=True)
    blocker.cancel()  # a running one is not stopped, and its result hurts nobody
    finish.set()
    await wanted
    assert ran == ["wanted"]
    await offloader.close()


async def test_an_error_that_no_future_can_hold_does_not_take_others_with_it() -> None:
    offloader = Offloader(1)

    def stop() -> None:
        raise StopIteration

    bad, good = await asyncio.gather(offloader.run(stop), offloader.run(lambda: 7), return_exceptions=True)
    assert isinstance(bad, RuntimeError)
    assert good == 7
    await offloader.close()


async def test_closing_lets_jobs_end_and_takes_no_more() -> None:
    offloader = Offloader(1)
    finish = threading.Event()
    jobs = [asyncio.create_task(offloader.run(finish.wait, WAIT_S)) for _ in range(3)]
    await asyncio.sleep(0)
    closing = asyncio.create_task(offloader.close())
    await asyncio.sleep(0)
    with pytest.raises(RuntimeError, match="closed"):
        await offloader.run(finish.wait)
    finish.set()
    await closing
    assert await asyncio.gather(*jobs) == [True, True, True]


async def test_short_jobs_run_on_the_loop_in_one_go() -> None:
    offloader = Offloader(1)
    order: list[str] = []

    def work(name: str) -> int:
        order.append(f"{name} {threading.current_thread().name}")
        return 7

    async def call(name: str) -> int:
        order.append(f"{name} asks")
        answer = await offloader.run_soon(work, name)
        order.append(f"{name} goes on")
        return answer

    assert list(await asyncio.gather(call("a"), call("b"))) == [7, 7]
    here = threading.current_thread().name
    assert order == ["a asks", "b asks", f"a {here}", f"b {here}", "a goes on", "b goes on"]
    await offloader.close()


async def test_a_short_job_that_fails_or_is_not_wanted_harms_no_other() -> None:
    offloader = Offloader(1)
    ran: list[str] = []

    def fail() -> None:
        raise KeyError("bad")

    unwanted = asyncio.create_task(offloader.run_soon(ran.append, "unwanted"))
    bad = asyncio.create_task(offloader.run_soon(fail))
    good = asyncio.create_task(offloader.run_soon(ran.append, "good"))
    asyncio.get_running_loop().call_soon(unwanted.cancel)
    results = await asyncio.gather(unwanted, bad, good, return_exceptions=True)
    assert [type(result) for result in results] == [asyncio.CancelledError, KeyError, type(None)]
    assert ran == ["good"]
    await offloader.close()
