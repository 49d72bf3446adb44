"""The fronts side by side: the same calls through each, round by round, on a quiet machine and beside a busy core."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, nullcontext
from pathlib import Path
from statistics import median

from bench.comparison import IN_FLIGHT, describe_run
from bench.load import find_h2load
from bench.raw_images import TUTORIAL, tutorial_bundle
from bench.served import Served, ServedLoad
from muserve.v1 import image_pb2
from tests.servers import server_process
from tests.stress import burning

MODELS = Path(__file__).parents[1] / "models"
OUT = Path("out/bench-fronts.md")
ONE = image_pb2.GenerateImagesRequest(count=1, version=TUTORIAL)
BASE = "grpcio, one server"
FRONTS = {
    BASE: ("--front", "grpcio", "--grpcio-servers", "1"),
    "grpcio": ("--front", "grpcio"),
    "envoy": ("--front", "envoy"),
}
_LOADS = ((1, 1), (1, IN_FLIGHT), (4, IN_FLIGHT // 4), (32, IN_FLIGHT // 32))
"""Connections, and calls in flight on each."""


def main() -> None:
    """Measures, prints a Markdown report and writes it to out/bench-fronts.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.fronts", description=__doc__)
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all fronts")
    parser.add_argument("--calls", type=int, default=4000, help="calls of a load; a tenth with one in flight")
    parser.add_argument("--server-flag", action="append", default=[], help="a flag for muserve-server; repeatable")
    options = parser.parse_args()
    find_h2load()
    lines = [describe_run(tutorial_bundle(MODELS), options.server_flag), ""]
    with _servers(options.server_flag) as servers:
        for name, beside in (("Nothing beside.", nullcontext()), ("Beside a process that burns a core.", burning(1))):
            with beside:
                lines += [name, "", *_measure(servers, options.rounds, options.calls), ""]
        lines += [f"Memory at the end: {', '.join(f'{name} {it.rss_mib:.0f} MiB' for name, it in servers.items())}."]
    report = "\n".join(lines) + "\n"
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(report)
    sys.stdout.write(report)


@contextmanager
def _servers(flags: list[str]) -> Iterator[dict[str, Served]]:
    """One server a front, all at once: those that nobody calls take nothing."""
    with ExitStack() as stack:
        servers = {}
        for name, front in FRONTS.items():
            process = server_process(MODELS, "--poll-interval-s", "0", "--drain-delay-s", "0", *front, *flags)
            servers[name] = Served(stack.enter_context(process))
            servers[name].load(ONE, calls=1000)
        yield servers


def _measure(servers: dict[str, Served], rounds: int, calls: int) -> list[str]:
    found: dict[tuple[int, int], dict[str, list[ServedLoad]]] = {
        load: {name: [] for name in servers} for load in _LOADS
    }
    for _ in range(rounds):
        for (connections, streams), rows in found.items():
            count = calls if connections * streams > 1 else calls // 10
            for name, served in servers.items():
                rows[name].append(served.load(ONE, calls=count, connections=connections, streams=streams))
    lines = [
        f"| connections × in flight | front | calls/s | of {BASE} | p50 ms | p99 ms | rows a run "
        "| server CPU µs a call |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for (connections, streams), rows in found.items():
        base = [row.load.calls_per_s for row in rows[BASE]]
        for name, measured in rows.items():
            ratio = median(row.load.calls_per_s / other for row, other in zip(measured, base, strict=True))
            lines.append(f"| {connections} × {streams} | {name} | {_figures(measured, ratio)} |")
    return lines


def _figures(rows: list[ServedLoad], ratio: float) -> str:
    return " | ".join(
        (
            f"{median(row.load.calls_per_s for row in rows):,.0f}",
            f"{ratio:.2f}",
            f"{median(row.load.p50_ms for row in rows):.1f}",
            f"{median(row.load.p99_ms for row in rows):.1f}",
            f"{median(row.rows_per_run for row in rows):.1f}",
            f"{median(row.cpu_s / row.load.calls for row in rows) * 1e6:.0f}",
        )
    )


if __name__ == "__main__":
    main()
