"""Images served against images made without a server, on the same cores in one run: `make bench`.

Rounds of both are interleaved, so that what else the machine does hits both alike; read the ratios, not the rates.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import platform
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from statistics import median

from bench.load import find_h2load
from bench.raw import TUTORIAL, RawWorkers, SetUp, raw_png, tutorial_bundle
from bench.served import Served, ServedLoad
from muserve.v1 import image_pb2
from muserve_client import AsyncClient, Client
from tests.servers import server_process

MODELS = Path(__file__).parents[1] / "models"
OUT = Path("out/bench.md")
IN_FLIGHT = 32
CALLS = 4000
RAW_S = 0.8
ONE = image_pb2.GenerateImagesRequest(count=1, version=TUTORIAL)
RAW = (
    SetUp(rows=1), SetUp(rows=1, threads=2), SetUp(rows=1, processes=2),
    SetUp(rows=IN_FLIGHT), SetUp(rows=IN_FLIGHT, threads=2), SetUp(rows=IN_FLIGHT, processes=2),
)  # fmt: skip
CONNECTIONS = (1, 4, 32)


def main() -> None:
    """Measures, prints a Markdown report and writes it to out/bench.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.images", description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with a bundle of digits")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of raw and served")
    parser.add_argument("--server-flag", action="append", default=[], help="a flag for muserve-server; repeatable")
    options = parser.parse_args()
    find_h2load()
    bundle = tutorial_bundle(options.models)
    cores = len(os.sched_getaffinity(0))
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {bundle}, {cores} cores ({platform.machine()}), Python "
        f"{platform.python_version()}, load average before {os.getloadavg()[0]:.1f}, server flags: "
        f"{' '.join(options.server_flag) or 'none'}",
        "",
    ]
    with _server(options.models, options.server_flag) as (served, target, start):
        lines += start
        _check_bytes(options.models, target)
        lines += _memory(served)
        lines += _compare(options.models, served, options.rounds)
        lines += _others(served, target)
        lines += ["", f"Rows of a run, all runs: {served.runs_by_rows()}. RSS at the end: {served.rss_mib:.0f} MiB."]
    report = "\n".join(lines) + "\n"
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(report)
    sys.stdout.write(report)


@contextmanager
def _server(models: Path, flags: list[str]) -> Iterator[tuple[Served, str, list[str]]]:
    started = time.monotonic()
    with server_process(models, "--poll-interval-s", "0", "--drain-delay-s", "0", *flags) as process:
        served = Served(process)
        if not served.is_ready:
            raise RuntimeError("the server said that it serves, but /readyz does not")
        ready_s = time.monotonic() - started
        target = f"127.0.0.1:{process.grpc_port}"
        with Client(target) as client:
            client.images(count=1, version=TUTORIAL)
        line = f"Start-up: ready after {ready_s:.2f} s, first answer after {time.monotonic() - started:.2f} s."
        yield served, target, [line, ""]


def _check_bytes(models: Path, target: str) -> None:
    with Client(target) as client:
        png = client.images(count=1, seed=7, version=TUTORIAL)[0].png
    if png != raw_png(models, 7):
        raise RuntimeError("the served PNG is not the raw one: the two sides do not do the same work")


def _memory(served: Served) -> list[str]:
    served.load(ONE, calls=2000)
    rss = [served.rss_mib]
    for _ in range(2):
        served.load(ONE, calls=10_000)
        rss.append(served.rss_mib)
    return [f"Memory (RSS): {rss[0]:.1f} MiB warm, {rss[1]:.1f} after 10,000 calls, {rss[2]:.1f} after 20,000.", ""]


def _compare(models: Path, served: Served, rounds: int) -> list[str]:
    raw: dict[SetUp, list[float]] = {set_up: [] for set_up in RAW}
    loads: dict[int, list[ServedLoad]] = {connections: [] for connections in CONNECTIONS}
    workers = RawWorkers(models, 2)
    try:
        for _ in range(rounds):
            for set_up in RAW:
                raw[set_up].append(workers.images_per_s(set_up, RAW_S))
            for connections in CONNECTIONS:
                streams = IN_FLIGHT // connections
                load = served.load(ONE, calls=CALLS, connections=connections, streams=streams)
                loads[connections].append(load)
    finally:
        workers.close()
    # A round's ratio is against that very round: the plain loop, and the best set-ups on all cores.
    references = (
        raw[RAW[0]],
        [max(raw[set_up][i] for set_up in RAW if set_up.rows == 1) for i in range(rounds)],
        [max(raw[set_up][i] for set_up in RAW) for i in range(rounds)],
    )
    lines = ["| onnxruntime without a server | images/s |", "|---|---|"]
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
            f"| {connections} connections × {IN_FLIGHT // connections} | {median(rates):,.0f} "
            f"| {shown} {_costs(rows)} |"
        )
    return lines


def _costs(rows: list[ServedLoad]) -> str:
    figures = (
        f"{median(row.load.p50_ms for row in rows):.1f}",
        f"{median(row.load.p99_ms for row in rows):.1f}",
        f"{median(row.rows_per_run for row in rows):.1f}",
        f"{median(row.cpu_s / row.load.calls for row in rows) * 1e6:.0f}",
        f"{median(row.load.cpu_s / row.load.calls for row in rows) * 1e6:.0f}",
    )
    return "| " + " | ".join(figures)


def _others(served: Served, target: str) -> list[str]:
    lines = ["", "| other calls | calls/s | images/s | p50 ms | p99 ms |", "|---|---|---|---|---|"]
    sheet = image_pb2.GenerateImagesRequest(count=16, version=TUTORIAL, layout=image_pb2.IMAGE_LAYOUT_CONTACT_SHEET)
    kinds = {
        "count = 1, 1 in flight": (ONE, 1, 1),
        f"count = 16, {IN_FLIGHT} in flight": (image_pb2.GenerateImagesRequest(count=16, version=TUTORIAL), 4, 8),
        f"count = 16 on a contact sheet, {IN_FLIGHT} in flight": (sheet, 4, 8),
    }
    for name, (request, connections, streams) in kinds.items():
        load = served.load(request, calls=1000, connections=connections, streams=streams).load
        images = load.calls_per_s * request.count
        lines.append(f"| {name} | {load.calls_per_s:,.0f} | {images:,.0f} | {load.p50_ms:.1f} | {load.p99_ms:.1f} |")
    rate = asyncio.run(_sdk(target, calls=3000))
    lines.append(f"| Python SDK (AsyncClient), count = 1, {IN_FLIGHT} in flight | {rate:,.0f} | {rate:,.0f} | | |")
    return lines


async def _sdk(target: str, *, calls: int) -> float:
    async with AsyncClient(target) as client:

        async def call() -> None:
            for _ in range(calls // IN_FLIGHT):
                await client.images(count=1, version=TUTORIAL)

        await call()
        started = time.monotonic()
        await asyncio.gather(*(call() for _ in range(IN_FLIGHT)))
        return calls // IN_FLIGHT * IN_FLIGHT / (time.monotonic() - started)


if __name__ == "__main__":
    main()
