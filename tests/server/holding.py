"""Holds engines back until all that is expected has come, so that batches are shared on a slow machine, too."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from muserve_server.app import Server
from muserve_server.model import LocalModel
from tests.server.waiting import WAIT_S

__all__ = ["held_until", "served_model"]


@contextmanager
def held_until(model: LocalModel, rows: float, *, graph: str = "") -> Iterator[None]:
    """Inside, a run begins to compute only once so many rows wait for its graph or are in it; later ones at once.

    Args:
        model: The model.
        rows: The rows; infinitely many hold every run until the end of the block.
        graph: Holds only the runs of this graph; empty for those of all.
    """
    released = threading.Event()

    def held(batcher: Any, run: Any) -> Any:
        def run_when_released(inputs: Mapping[str, Any]) -> Any:
            end_s = time.monotonic() + WAIT_S
            while not released.is_set():
                if batcher.queued_rows + len(next(iter(inputs.values()))) >= rows:
                    released.set()
                elif time.monotonic() > end_s:
                    raise TimeoutError(f"{batcher.queued_rows} rows wait; expected: {rows}")
                time.sleep(0.001)
            return run(inputs)

        return run_when_released

    batchers = [batcher for role, batcher in model._batchers.items() if graph in ("", role)]
    engines = {engine: batcher for batcher in batchers for engine in batcher._engines}
    for engine, batcher in engines.items():
        engine.run = held(batcher, engine.run)  # type: ignore[method-assign]
    try:
        yield
    finally:
        released.set()
        for engine in engines:
            del engine.run


def served_model(server: Server, name: str) -> LocalModel:
    """The newest version of a model of a server in this process."""
    lease = server._repository.find(name, None).lease
    assert lease is not None
    return lease.model
