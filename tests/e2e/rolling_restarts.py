"""Restarts two replicas in turn under mixed load, and counts what the Python SDK, set as it is by default, sees of it.

    python -m tests.e2e.rolling_restarts --restarts 20 [--models FOLDER] [--workers N] [flags of muserve-server]

Prints calls, failures and the versions that answered; ends with 1 if a call failed, or was answered by another version
or with other bytes than before the restarts.
"""

from __future__ import annotations

import argparse
import asyncio
import hashlib
import sys
import time
from collections import Counter
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from muserve_client import AsyncClient
from tests.server.pictorial import image_file, scene
from tests.servers import ServerProcess, server_process, unassigned_port

__all__ = ["CALLS", "Report", "roll"]

_BUNDLED = Path(__file__).parents[2] / "models"
_IMAGE = image_file(scene(48, 48))
_SERIES = [112, 118, 132, 129, 121, 135, 148, 148, 136, 119, 104, 118, 115, 126, 141, 135, 125, 149, 170, 170, 158, 133]

Call = Callable[[AsyncClient], Coroutine[Any, Any, Any]]
CALLS: Mapping[str, Call] = {
    "images": lambda client: client.images(4, seed=1),
    "music": lambda client: client.music(seed=1),
    "forecast": lambda client: client.forecast(_SERIES, 6, frequency="monthly"),
    "ask": lambda client: client.ask("lamp", seed=1),
    "translate": lambda client: client.translate(_IMAGE, "map"),
}
"""One call of each task that names no model: the server's default answers."""


@dataclass
class Report:
    """What the callers saw."""

    answers: Counter[tuple[str, str, str]] = field(default_factory=Counter)
    """Answers by call, version ("digits/2") and digest of the media."""
    expected: set[tuple[str, str, str]] = field(default_factory=set)
    """What answered each call before the first restart."""
    failures: Counter[str] = field(default_factory=Counter)
    """Failed calls by call and error."""
    slowest_s: float = 0.0
    """The longest time that a call took, in seconds."""

    @property
    def answered(self) -> int:
        """How many calls were answered."""
        return self.answers.total()

    @property
    def unexpected(self) -> Counter[tuple[str, str, str]]:
        """Answers of another version, or with other bytes, than before the restarts."""
        return Counter({answer: count for answer, count in self.answers.items() if answer not in self.expected})

    @property
    def passed(self) -> bool:
        """Whether no call noticed anything."""
        return not self.failures and not self.unexpected

    def __str__(self) -> str:
        other = f"{self.unexpected.total()} other answers"
        lines = [
            f"{self.answered + self.failures.total()} calls, {self.failures.total()} failed, {other}, "
            f"slowest {self.slowest_s:.1f} s"
        ]
        for (call, version, digest), count in sorted(self.answers.items()):
            note = "" if (call, version, digest) in self.expected else "  (other)"
            lines.append(f"  {call}: {count} by {version}, {digest}{note}")
        lines += [f"  {count} failed: {text}" for text, count in self.failures.most_common()]
        return "\n".join(lines)


async def roll(
    models: Path, *, restarts: int, workers: int = 8, flags: Sequence[str] = (), calls_between: int = 50
) -> Report:
    """Keeps two replicas under load and restarts them in turn, each on its own ports.

    Args:
        models: Folder of bundles, with a model for each of `CALLS`.
        restarts: How many.
        workers: Calls in flight.
        flags: Further flags of the servers.
        calls_between: Calls to be answered between one restart and the next.
    """
    report = Report()
    with ExitStack() as stack:
        replicas = [_Replica(models, flags, stack) for _ in range(2)]
        for replica in replicas:
            await replica.start()
        target = "ipv4:" + ",".join(replica.address for replica in replicas)
        async with AsyncClient(target) as client:
            for name, call in CALLS.items():
                report.expected.add(_key(name, await call(client)))
            async with asyncio.TaskGroup() as tasks:
                going = asyncio.Event()
                for number in range(workers):
                    tasks.create_task(_work(client, report, number, going))
                try:
                    for number in range(restarts):
                        await _until_answered(report, calls_between)
                        await replicas[number % 2].restart()
                    await _until_answered(report, calls_between)
                finally:
                    going.set()
    return report


class _Replica:
    """A server on a port of its own, which outlives it."""

    def __init__(self, models: Path, flags: Sequence[str], stack: ExitStack) -> None:
        self._models, self._stack = models, stack
        self._flags = flags
        self._process: ServerProcess | None = None
        self._port = 0

    @property
    def address(self) -> str:
        """Where it listens once it has started."""
        return f"127.0.0.1:{self._port}"

    async def start(self) -> None:
        """Returns when it is ready, as its health says."""
        self._port = self._port or unassigned_port()
        server = server_process(self._models, "--grpc-port", str(self._port), *self._flags)
        self._process = await asyncio.to_thread(self._stack.enter_context, server)
        async with AsyncClient(self.address) as client:
            await client.wait_until_ready()

    async def restart(self) -> None:
        """Lets it drain, and starts it again."""
        assert self._process
        self._process.terminate()
        code = await asyncio.to_thread(self._process.wait)
        if code:
            raise RuntimeError(f"the server ended with {code}")
        await self.start()


async def _work(client: AsyncClient, report: Report, first: int, ended: asyncio.Event) -> None:
    calls, number = list(CALLS.items()), first
    while not ended.is_set():
        name, call = calls[number % len(calls)]
        number += 1
        started = time.monotonic()
        try:
            answer = await call(client)
        except Exception as error:  # noqa: BLE001 - any failure counts
            report.failures[f"{name}: {error!r}"] += 1
        else:
            report.answers[_key(name, answer)] += 1
        report.slowest_s = max(report.slowest_s, time.monotonic() - started)


async def _until_answered(report: Report, more: int) -> None:
    """Returns after more calls; the test's own timeout ends a vain wait."""
    wanted = report.answered + report.failures.total() + more
    while report.answered + report.failures.total() < wanted:  # noqa: ASYNC110 - counted in other tasks
        await asyncio.sleep(0.01)


def _key(name: str, answer: Any) -> tuple[str, str, str]:
    """Call, version and digest of the media."""
    media: Any = {
        "images": lambda: [image.png for image in answer],
        "music": lambda: [piece.midi for piece in answer],
        "forecast": lambda: [list(series.point) for series in answer],
        "ask": lambda: [one.text for one in answer],
        "translate": lambda: answer.png,
    }
    digest = hashlib.sha256(repr(media[name]()).encode()).hexdigest()[:12]
    return name, f"{answer.info.model}/{answer.info.version}", digest


def main() -> int:
    """Runs it from the command line; unknown flags are the servers'."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--restarts", type=int, default=20, help="restarts over both replicas (default: 20)")
    parser.add_argument("--workers", type=int, default=8, help="calls in flight (default: 8)")
    parser.add_argument("--models", type=Path, default=_BUNDLED, help="folder of bundles (default: the bundled models)")
    known, flags = parser.parse_known_args()
    report = asyncio.run(roll(known.models, restarts=known.restarts, workers=known.workers, flags=flags))
    print(f"{known.restarts} restarts: {report}")
    return 0 if report.passed else 1


if __name__ == "__main__":
    sys.exit(main())
