"""A real server process, and what can be seen of it from outside: /proc and its own metrics."""

from __future__ import annotations

import os
import re
import urllib.request
from dataclasses import dataclass
from pathlib import Path

from bench.load import Load, Request, h2load
from tests.servers import ServerProcess

__all__ = ["Request", "Served", "ServedLoad"]


@dataclass(frozen=True)
class ServedLoad:
    """A load, and what it took the server."""

    load: Load
    cpu_s: float
    """CPU time of the server."""
    rows_per_run: float
    """Mean rows of the graph's runs."""


class Served:
    """One server process under measurement."""

    def __init__(self, process: ServerProcess) -> None:
        self._pid = process.process.pid
        self._port = process.grpc_port
        self._http_port = process.http_port

    @property
    def rss_mib(self) -> float:
        """Resident memory of the server's processes."""
        statuses = (Path(f"/proc/{pid}/status").read_text() for pid in self._pids())
        return sum(int(kib) for status in statuses for kib in re.findall(r"VmRSS:\s+(\d+) kB", status)) / 1024

    @property
    def is_ready(self) -> bool:
        """Whether /readyz says so."""
        return self._get("readyz") == "ready\n"

    def load(self, request: Request, *, calls: int, connections: int = 4, streams: int = 8) -> ServedLoad:
        """Loads the server and proves that every call was answered well.

        Raises:
            RuntimeError: Calls failed.
        """
        cpu_s, before = self._cpu_s(), self._metrics()
        load = h2load(self._port, request, calls=calls, connections=connections, streams=streams)
        after = self._metrics()
        codes = {
            code: count
            for code in set(re.findall(r'code="(\w+)"', after))
            if (
                count := _total(after, f'request_seconds_count{{code="{code}"')
                - _total(before, f'request_seconds_count{{code="{code}"')
            )
        }
        if codes != {"OK": calls}:
            raise RuntimeError(f"{calls} calls were sent; the server counted {codes}")
        rows, runs = (_total(after, name) - _total(before, name) for name in ("batch_rows_sum", "batch_rows_count"))
        return ServedLoad(load, self._cpu_s() - cpu_s, rows / max(runs, 1))

    def runs_by_rows(self) -> dict[str, int]:
        """Returns how many runs had up to so many rows, since the start."""
        found = re.findall(r'muserve_batch_rows_bucket\{[^}]*le="([^"]+)"[^}]*\} ([\d.e+]+)', self._metrics())
        totals = [(edge, int(float(total))) for edge, total in found]
        below = [0, *(total for _, total in totals)]
        return {edge: total - less for (edge, total), less in zip(totals, below, strict=False) if total > less}

    def _cpu_s(self) -> float:
        fields = [Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in self._pids()]
        return sum(int(row[11]) + int(row[12]) for row in fields) / os.sysconf("SC_CLK_TCK")

    def _pids(self) -> list[int]:
        """Returns the server's process and, if it has one, that of Envoy."""
        children = Path(f"/proc/{self._pid}/task/{self._pid}/children").read_text().split()
        return [self._pid, *map(int, children)]

    def _metrics(self) -> str:
        return self._get("metrics")

    def _get(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{self._http_port}/{path}", timeout=10) as answer:
            return str(answer.read().decode())


def _total(metrics: str, start: str) -> float:
    lines = (line for line in metrics.splitlines() if line.startswith(f"muserve_{start}"))
    return sum(float(line.rpartition(" ")[2]) for line in lines)
