"""All families at once on one real server, with cancels, deadlines and bad rows: nobody feels another.

Batches are larger than 1, the media are byte for byte those of a lone run, only the bad fail, cancelled work stops.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

import grpc
import pytest
from google.protobuf.message import Message
from grpc import aio

from muserve.v1 import image_pb2
from muserve_server.app import Server
from muserve_server.engine import BatcherOptions
from muserve_server.model import LocalOptions
from tests.e2e.scenarios import LOOP, SCENARIOS, TEST_KINDS, LoopTask, Scenario
from tests.options import kinds_with
from tests.server.calling import channel_to, metric
from tests.server.holding import held_until, served_model
from tests.server.waiting import DEADLINES_S, until
from tests.servers import serving

ROUNDS = 12
MOST_LOADS = 10
Alone = dict[tuple[str, int], list[bytes]]
ENDLESS = image_pb2.GenerateImagesRequest(model="loop", seed=1, count=2, labels=["endless"])


@asynccontextmanager
async def serving_scenarios(
    root: Path, scenarios: Sequence[Scenario], options: LocalOptions | None = None
) -> AsyncIterator[tuple[Server, aio.Channel]]:
    for scenario in scenarios:
        scenario.write(root)
    # The whole load comes at once; what a full queue does is another test's.
    options = options or LocalOptions(kinds=TEST_KINDS, batcher=BatcherOptions(max_queue_rows=2**20))
    defaults = (f"image={scenarios[0].name}",)
    async with (
        serving(root, options=options, default_models=defaults) as server,
        channel_to(server.grpc_port) as channel,
    ):
        yield server, channel


async def outcome(call: Any) -> Any:
    """Returns a call's response, or the code that it failed with."""
    try:
        return await call
    except aio.AioRpcError as error:
        return error.code()
    except asyncio.CancelledError:
        return grpc.StatusCode.CANCELLED


async def cancelled(call: Any, after_turns: int) -> Any:
    """Cancels a call after some turns of the event loop: before it is sent, in the queue, in a run, or too late."""
    for _ in range(after_turns):
        await asyncio.sleep(0)
    call.cancel()
    return await outcome(call)


async def test_under_mixed_load_nobody_feels_another(tmp_path: Path) -> None:
    async with serving_scenarios(tmp_path, SCENARIOS) as (server, channel):
        alone: Alone = {}
        for scenario in SCENARIOS:
            for index, request in enumerate(scenario.good):
                alone[scenario.name, index] = scenario.media(await scenario.call(channel)(request))
                assert alone[scenario.name, index]

        dice = random.Random(7)
        company: set[str] = set()
        for _ in range(MOST_LOADS):  # who meets whom is chance: until each has shared a batch
            with ExitStack() as held:
                for scenario in SCENARIOS:
                    lone = max(map(scenario.rows, scenario.good))
                    held.enter_context(held_until(served_model(server, scenario.name), rows=2 * lone + 1))
                company |= await load(channel, alone, dice)
            if len(company) == len(SCENARIOS):
                break
        assert company == {scenario.name for scenario in SCENARIOS}

        await until(lambda: metric(server, "muserve_calls_in_progress") == 0)
        for scenario in SCENARIOS:  # and it goes on
            again = scenario.media(await scenario.call(channel)(scenario.good[0]))
            assert again == alone[scenario.name, 0]


async def load(channel: aio.Channel, alone: Alone, dice: random.Random) -> set[str]:
    """Calls everything at once, checks how each call ends, and returns the scenarios that shared a batch."""
    kept: list[tuple[Scenario, int, Any]] = []
    bad: list[tuple[Message, grpc.StatusCode, Any]] = []
    dropped: list[Any] = []
    for scenario in SCENARIOS * ROUNDS:
        call = scenario.call(channel)
        kept += [(scenario, index, outcome(call(request))) for index, request in enumerate(scenario.good)]
        bad += [(request, code, outcome(call(request))) for request, code in scenario.bad]
        dropped += [cancelled(call(request), dice.randrange(200)) for request in scenario.good]
        dropped += [outcome(call(request, timeout=dice.uniform(0, 0.05))) for request in scenario.good[:3]]
    ends = await asyncio.gather(*(work for _, _, work in kept), *(work for _, _, work in bad), *dropped)
    kept_ends, bad_ends, dropped_ends = ends[: len(kept)], ends[len(kept) : -len(dropped)], ends[-len(dropped) :]

    company = set()
    for (scenario, index, _), response in zip(kept, kept_ends, strict=True):
        assert not isinstance(response, grpc.StatusCode), (scenario.name, index, response)
        media = scenario.media(response)
        assert media == alone[scenario.name, index], (scenario.name, index)
        if response.info.timings.batch_rows > scenario.rows(scenario.good[index]):
            company.add(scenario.name)
    for (request, code, _), end in zip(bad, bad_ends, strict=True):
        assert end is code, request
    codes = {end for end in dropped_ends if isinstance(end, grpc.StatusCode)}  # some were done before
    assert grpc.StatusCode.CANCELLED in codes
    assert codes <= {grpc.StatusCode.CANCELLED, grpc.StatusCode.DEADLINE_EXCEEDED}
    return company


async def test_a_bad_row_in_a_shared_batch_fails_alone(tmp_path: Path) -> None:
    """Both calls wait for each other before each step, until one of them fails inside the graph."""
    company = _Company(2)
    options = LocalOptions(kinds=kinds_with(image=company.task))
    async with serving_scenarios(tmp_path, [LOOP], options) as (server, channel):
        call = LOOP.call(channel)
        good = image_pb2.GenerateImagesRequest(model="loop", seed=5, count=2)
        bad = image_pb2.GenerateImagesRequest(model="loop", seed=6, count=3, labels=["bad"])
        alone = await call(good)
        runs = metric(server, "muserve_batch_rows_count", model="loop")
        company.wanted = True
        response, code = await asyncio.gather(call(good), outcome(call(bad)))
        assert code is grpc.StatusCode.INTERNAL
        assert LOOP.media(response) == LOOP.media(alone)
        assert response.info.timings.batch_rows == 5
        # Six steps together, the seventh together and then each alone, three steps of the good one.
        assert metric(server, "muserve_batch_rows_count", model="loop") - runs == 6 + 3 + 3


class _Company:
    """Holds each step of the loop back until the steps of all calls have come, so that they share a batch."""

    def __init__(self, calls: int) -> None:
        self._barrier = asyncio.Barrier(calls)
        self.wanted = False

    def task(self, bundle: Any, limits: Any) -> Any:
        company, task = self, LoopTask(bundle, limits)

        class Together:
            def handlers(self) -> dict[str, Any]:
                return {"GenerateImages": self.generate}

            async def generate(self, request: Any, call: Any) -> Any:
                steps = 0

                class Held:
                    async def infer(self, graph: str, rows: Any) -> Any:
                        nonlocal steps
                        steps += 1
                        if company.wanted and steps <= 7:
                            await company._barrier.wait()
                        return await call.infer(graph, rows)

                    iterate = staticmethod(call.iterate)
                    offload = staticmethod(call.offload)
                    run_soon = staticmethod(call.run_soon)

                return await task.generate(request, Held())

        return Together()


@pytest.mark.parametrize("how", ["cancel", "deadline", "hang up"])
async def test_work_that_nobody_waits_for_stops(tmp_path: Path, how: str) -> None:
    made: list[LoopTask] = []

    def factory(bundle: Any, limits: Any) -> LoopTask:
        made.append(LoopTask(bundle, limits))
        return made[0]

    options = LocalOptions(kinds=kinds_with(image=factory))
    async with serving_scenarios(tmp_path, [LOOP], options) as (server, channel):
        alone = LOOP.media(await LOOP.call(channel)(LOOP.good[0]))
        wanted = grpc.StatusCode.DEADLINE_EXCEEDED if how == "deadline" else grpc.StatusCode.CANCELLED

        def ended() -> float:
            return metric(server, "muserve_request_seconds_count", model="loop", code=wanted.name)

        for timeout in DEADLINES_S if how == "deadline" else (None,):
            before, steps = ended(), made[0].endless_steps
            async with channel_to(server.grpc_port) as other:
                calls = [LOOP.call(other)(ENDLESS, timeout=timeout) for _ in range(5)]
                tasks = [asyncio.create_task(outcome(call)) for call in calls]
                if how != "deadline":
                    await until(lambda: made[0].endless == 5 and made[0].endless_steps > 20)
                if how == "cancel":
                    for call in calls:
                        call.cancel()
                if how == "hang up":
                    await other.close()
                assert set(await asyncio.gather(*tasks)) == {wanted}
            await until(lambda: metric(server, "muserve_calls_in_progress") == 0)
            if made[0].endless_steps > steps + 20 and ended() == before + len(calls):
                break
        else:
            pytest.fail("the calls were never all at work")
        assert made[0].endless == 0
        assert LOOP.media(await LOOP.call(channel)(LOOP.good[0])) == alone  # after it, the run that was going has ended
        steps = made[0].endless_steps
        runs = metric(server, "muserve_batch_rows_count", model="loop")
        assert LOOP.media(await LOOP.call(channel)(LOOP.good[0])) == alone
        assert metric(server, "muserve_batch_rows_count", model="loop") - runs == 10  # none but this call's own
        assert made[0].endless_steps == steps
        assert metric(server, "muserve_compute_seconds_sum", model="loop", code=wanted.name) > 0
