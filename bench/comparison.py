"""One call, served and without a server, on the same cores in one run.

Rounds of both are interleaved, so that what else the machine does hits both alike; read the ratios, not the rates.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from statistics import median

from bench.raw import MakeRaw, RawWorkers, SetUp
from bench.served import Request, Served, ServedLoad

__all__ = ["IN_FLIGHT", "Comparison", "describe_run"]

IN_FLIGHT = 32
_WAYS = ((1, 1, 1), (1, 1, 2), (1, 2, 1), (2, 1, 1))
_RAW = tuple(SetUp(rows, *way) for rows in (1, IN_FLIGHT) for way in _WAYS)
_CONNECTIONS = (1, 4, 32)


@dataclass(frozen=True)
class Comparison:
    """What is compared."""

    request: Request
    """A call for one sample."""
    make: MakeRaw
    """Makes the same without a server."""
    samples: str
    """What they are called."""
    calls: int
    """Calls of a load."""
    raw_s: float
    """Seconds of a raw loop."""

    def measure(self, served: Served, rounds: int) -> list[str]:
        """Measures, and returns two tables of Markdown."""
        raw: dict[SetUp, list[float]] = {set_up: [] for set_up in _RAW}
        loads: dict[int, list[ServedLoad]] = {connections: [] for connections in _CONNECTIONS}
        workers = RawWorkers(self.make, 2)
        try:
            for _ in range(rounds):
                for set_up in _RAW:
                    raw[set_up].append(workers.samples_per_s(set_up, self.raw_s))
                for connections in _CONNECTIONS:
                    streams = IN_FLIGHT // connections
                    load = served.load(self.request, calls=self.calls, connections=connections, streams=streams)
                    loads[connections].append(load)
        finally:
            workers.close()
        # A round's ratio is against that very round: the plain loop, and the best set-ups on all cores.
        references = (
            raw[_RAW[0]],
            [max(raw[set_up][i] for set_up in _RAW if set_up.rows == 1) for i in range(rounds)],
            [max(raw[set_up][i] for set_up in _RAW) for i in range(rounds)],
        )
        lines = [f"| onnxruntime without a server | {self.samples}/s |", "|---|---|"]
        lines += [f"| {set_up} | {median(rates):,.0f} |" for set_up, rates in raw.items()]
        lines += [
            "",
            f"| served, count = 1, {IN_FLIGHT} in flight | calls/s | of the raw loop | of raw's best, 1 a run "
            f"| of raw's best, {IN_FLIGHT} a run | p50 ms | p99 ms | rows a run | server CPU µs a call "
            "| h2load CPU µs a call |",
            "|---|---|---|---|---|---|---|---|---|---|",
        ]
        for connections, rows in loads.items():
            rates = [row.load.calls_per_s for row in rows]
            ratios = [median(a / b for a, b in zip(rates, raws, strict=True)) for raws in references]
            shown = " | ".join(f"{ratio:.2f}" for ratio in ratios)
            lines.append(
                f"| {connections} connection{'s' * (connections > 1)} × {IN_FLIGHT // connections} "
                f"| {median(rates):,.0f} | {shown} {_costs(rows)} |"
            )
        return lines


def describe_run(what: object, flags: Sequence[str]) -> str:
    """Returns a line on when and on what it was measured; called before there is a load."""
    return (
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {what}, {len(os.sched_getaffinity(0))} cores ({platform.machine()}), "
        f"Python {platform.python_version()}, load average before {os.getloadavg()[0]:.1f}, server flags: "
        f"{' '.join(flags) or 'none'}"
    )


def _costs(rows: list[ServedLoad]) -> str:
    figures = (
        f"{median(row.load.p50_ms for row in rows):.1f}",
        f"{median(row.load.p99_ms for row in rows):.1f}",
        f"{median(row.rows_per_run for row in rows):.1f}",
        f"{median(row.cpu_s / row.load.calls for row in rows) * 1e6:.0f}",
        f"{median(row.load.cpu_s / row.load.calls for row in rows) * 1e6:.0f}",
    )
    return "| " + " | ".join(figures)
