"""Answers a second with many questions in flight against one at a time, from the same server in one run.

What batching gives: each answer reads several passages and writes word after word, so that a run of the graphs is for
all questions that are in flight. Questions are about entries of the bundled corpus, each asked once.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.comparison import IN_FLIGHT, describe_run
from bench.served import Served
from muserve.bundle import Bundle, read_bundle
from muserve.v1 import common_pb2
from muserve_client import AsyncClient
from tests.servers import server_process

MODELS = Path(__file__).parents[1] / "models"
OUT = Path("out/bench-answers.md")
_TIMEOUT_S = 600.0
_STRIDE = 37


def main() -> None:
    """Measures, prints a Markdown report and writes it to out/bench-answers.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.answers", description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with an answer bundle")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of one at a time and many in flight")
    parser.add_argument("--calls", type=int, default=256, help="questions of a round")
    parser.add_argument("--in-flight", type=int, default=IN_FLIGHT, help="questions in flight")
    parser.add_argument("--server-flag", action="append", default=[], help="a flag for muserve-server; repeatable")
    options = parser.parse_args()
    bundle = _newest_bundle(options.models)
    if bundle is None:
        print(f"bench.answers: nothing to measure: {options.models} has no answer bundle with a corpus")
        return
    flags = ["--poll-interval-s", "0", "--drain-delay-s", "0", *options.server_flag]
    with server_process(options.models, *flags) as process:
        served = Served(process)
        rows = asyncio.run(_measure(f"127.0.0.1:{process.grpc_port}", bundle, options))
        lines = [
            describe_run(bundle, options.server_flag),
            "",
            *rows,
            "",
            f"Rows of a run, all runs: {served.runs_by_rows()}.",
        ]
    report = "\n".join(lines) + "\n"
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(report)
    sys.stdout.write(report)


def _newest_bundle(models: Path) -> Bundle | None:
    found = [read_bundle(path.parent) for path in sorted(models.glob("*/*/manifest.json"))]
    answers = [
        bundle for bundle in found if bundle.manifest.task == common_pb2.TASK_ANSWER and bundle.manifest.answer.corpora
    ]
    return max(answers, key=lambda bundle: bundle.manifest.version, default=None)


def _questions(bundle: Bundle, count: int) -> list[str]:
    """Asks about entries spread over the corpora."""
    titles = [
        json.loads(line)["title"]
        for corpus in bundle.manifest.answer.corpora
        for line in (bundle.folder / corpus.file).read_text(encoding="utf-8").splitlines()
    ]
    return [f"What is {titles[_STRIDE * index % len(titles)]}?" for index in range(count)]


async def _measure(target: str, bundle: Bundle, options: argparse.Namespace) -> list[str]:
    questions = _questions(bundle, options.calls * (options.rounds + 1))
    lines = [
        f"| round | one at a time, answers/s | {options.in_flight} in flight, answers/s | times | mean rows shared |",
        "| --- | --- | --- | --- | --- |",
    ]
    ratios = []
    async with AsyncClient(target, timeout_s=_TIMEOUT_S) as client:
        await _ask_all(client, bundle, questions[: options.in_flight], options.in_flight)  # warm-up
        for number in range(options.rounds):
            own = questions[options.calls * (number + 1) :][: options.calls]
            alone, _ = await _ask_all(client, bundle, own, 1)
            together, rows = await _ask_all(client, bundle, own, options.in_flight)
            ratios.append(together / alone)
            lines.append(f"| {number + 1} | {alone:.1f} | {together:.1f} | **{ratios[-1]:.2f}** | {rows:.0f} |")
    return [*lines, "", f"Median: {statistics.median(ratios):.2f} times."]


async def _ask_all(
    client: AsyncClient, bundle: Bundle, questions: Sequence[str], in_flight: int
) -> tuple[float, float]:
    """Asks questions, so many at a time; returns answers a second and the mean of the largest batches."""
    gate = asyncio.Semaphore(in_flight)
    model, version = bundle.manifest.name, bundle.manifest.version

    async def ask(question: str) -> int:
        async with gate:
            found = await client.ask(question, seed=0, model=model, version=version)
            return found.info.batch_rows

    started = time.monotonic()
    rows = await asyncio.gather(*map(ask, questions))
    return len(questions) / (time.monotonic() - started), statistics.mean(rows)


if __name__ == "__main__":
    main()
