"""Translations served against the same made without a server, in one run; and the memory of many large images at once.

Without a model in the folder there is nothing to measure, and it says so.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

from bench.comparison import IN_FLIGHT, Comparison, describe_run
from bench.load import find_h2load
from bench.raw_translation import SIDE, RawTranslation, newest_bundle, photo, request
from bench.served import Served
from muserve.bundle import Bundle
from muserve_client import AsyncClient, Client
from tests.servers import server_process

MODELS = Path(__file__).parents[1] / "models"
OUT = Path("out/bench-translation.md")
_SAMPLE_S = 0.02
_TIMEOUT_S = 3600.0


def main() -> None:
    """Measures, prints a Markdown report and writes it to out/bench-translation.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.translation", description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with a translation bundle")
    parser.add_argument("--rounds", type=int, default=3, help="rounds of raw and served")
    parser.add_argument("--calls", type=int, default=64, help="calls of a round and a number of connections")
    parser.add_argument("--raw-s", type=float, default=4.0, help="seconds of a raw loop")
    parser.add_argument("--large", type=int, default=2048, help="side of the large images, in pixels")
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT, help="large images at a time")
    parser.add_argument("--only-memory", action="store_true", help="leave the comparison out")
    parser.add_argument("--server-flag", action="append", default=[], help="a flag for muserve-server; repeatable")
    options = parser.parse_args()
    try:
        bundle = newest_bundle(options.models)
    except FileNotFoundError as error:
        print(f"bench.translation: nothing to measure: {error}")
        return
    lines = [describe_run(bundle, options.server_flag), ""]
    flags = ["--poll-interval-s", "0", "--drain-delay-s", "0", *options.server_flag]
    if not options.only_memory:
        find_h2load()
        with server_process(options.models, *flags) as process:
            lines += _rates(options, bundle, Served(process), f"127.0.0.1:{process.grpc_port}")
    with server_process(options.models, *flags) as process:
        lines += _memory(options, bundle, Served(process), f"127.0.0.1:{process.grpc_port}")
    report = "\n".join(lines) + "\n"
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(report)
    sys.stdout.write(report)


def _rates(options: argparse.Namespace, bundle: Bundle, served: Served, target: str) -> list[str]:
    one = request(bundle, SIDE)
    raw = RawTranslation(options.models).draw([0])[0]
    with Client(target, timeout_s=_TIMEOUT_S) as client:
        found = client.translate(one.image, one.target, model=one.model, version=one.version)
    if found.png != raw:
        raise RuntimeError("the served PNG is not the raw one: the two sides do not do the same work")
    comparison = Comparison(
        one, partial(RawTranslation, options.models), "images", calls=options.calls, raw_s=options.raw_s
    )
    return [
        f"Images of {SIDE} × {SIDE}: {len(one.image) / 1024:.0f} KiB in, {len(raw) / 1024:.0f} KiB out.",
        "",
        *comparison.measure(served, options.rounds),
        "",
        f"Rows of a run, all runs: {served.runs_by_rows()}. RSS at the end: {served.rss_mib:.0f} MiB.",
        "",
    ]


def _memory(options: argparse.Namespace, bundle: Bundle, served: Served, target: str) -> list[str]:
    """Sends large images at once and watches the server's memory."""
    image, direction = photo(options.large), bundle.manifest.translation.directions[0]
    before, started = served.rss_mib, time.monotonic()

    async def call() -> list[int]:
        async with AsyncClient(target, timeout_s=_TIMEOUT_S) as client:
            model, version = bundle.manifest.name, bundle.manifest.version
            calls = [
                client.translate(image, direction.target, model=model, version=version)
                for _ in range(options.in_flight)
            ]
            return [len(answer.png) for answer in await asyncio.gather(*calls)]

    with _watching(served) as seen:
        sizes = asyncio.run(call())
    rate = options.in_flight / (time.monotonic() - started)
    return [
        f"Memory (RSS) with {options.in_flight} calls of {options.large} × {options.large} in flight "
        f"({len(image) / 2**20:.1f} MiB in, {max(sizes) / 2**20:.1f} MiB out each): {before:.0f} MiB before, "
        f"{max(seen):.0f} MiB at most, {served.rss_mib:.0f} MiB after; {rate:.2f} images/s."
    ]


@contextmanager
def _watching(served: Served) -> Iterator[list[float]]:
    """Notes the memory of a server all the while, in MiB."""
    seen, done = [served.rss_mib], threading.Event()

    def watch() -> None:
        while not done.wait(_SAMPLE_S):
            seen.append(served.rss_mib)

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        done.set()
        thread.join()


if __name__ == "__main__":
    main()
