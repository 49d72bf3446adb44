"""Images served against images made without a server, on the same cores in one run: `make bench`."""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.comparison import IN_FLIGHT, Comparison, describe_run
from bench.load import find_h2load
from bench.raw_images import TUTORIAL, RawImages, tutorial_bundle
from bench.served import Served
from muserve.v1 import image_pb2
from muserve_client import AsyncClient, Client
from tests.servers import server_process

MODELS = Path(__file__).parents[1] / "models"
OUT = Path("out/bench.md")
ONE = image_pb2.GenerateImagesRequest(count=1, version=TUTORIAL)


def main() -> None:
    """Measures, prints a Markdown report and writes it to out/bench.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.images", description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with a bundle of digits")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of raw and served")
    parser.add_argument("--server-flag", action="append", default=[], help="a flag for muserve-server; repeatable")
    options = parser.parse_args()
    find_h2load()
    lines = [describe_run(tutorial_bundle(options.models), options.server_flag), ""]
    with _server(options.models, options.server_flag) as (served, target, start):
        lines += start
        _check_bytes(options.models, target)
        lines += _memory(served)
        comparison = Comparison(ONE, partial(RawImages, options.models), "images", calls=4000, raw_s=0.8)
        lines += comparison.measure(served, options.rounds)
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
    if png != RawImages(models).draw([7])[0]:
        raise RuntimeError("the served PNG is not the raw one: the two sides do not do the same work")


def _memory(served: Served) -> list[str]:
    served.load(ONE, calls=2000)
    rss = [served.rss_mib]
    for _ in range(2):
        served.load(ONE, calls=10_000)
        rss.append(served.rss_mib)
    return [f"Memory (RSS): {rss[0]:.1f} MiB warm, {rss[1]:.1f} after 10,000 calls, {rss[2]:.1f} after 20,000.", ""]


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
