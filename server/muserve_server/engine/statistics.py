"""What a batcher did since it began: cumulative counts and times, of which pollers take differences."""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass, field

__all__ = ["BatcherStats", "Tally"]


@dataclass
class Tally:
    """How often something happened, and how long it took together."""

    count: int = 0
    """How often."""
    seconds: float = 0.0
    """How long, added up."""

    def add(self, seconds: float) -> None:
        """Counts one more."""
        self.count += 1
        self.seconds += seconds


@dataclass
class BatcherStats:
    """What became of the requests and rows of one batcher."""

    succeeded: Tally = field(default_factory=Tally)
    """Requests that got their outputs, from arrival to outputs."""
    failed: Tally = field(default_factory=Tally)
    """Requests that did not: refused, expired, cancelled, or the graph failed."""
    waits: Tally = field(default_factory=Tally)
    """Waits for a run; of a request that goes on step by step, each."""
    shares: Tally = field(default_factory=Tally)
    """Runs that succeeded, counted for each request that had rows in them."""
    runs: dict[int, Tally] = field(default_factory=lambda: defaultdict(Tally))
    """Runs that succeeded, by number of rows."""
    last_run_at_s: float = 0.0
    """When the last of them ended, in seconds since 1970; 0 if there was none."""

    def add_run(self, rows: int, requests: int, seconds: float) -> None:
        """Counts a run that succeeded."""
        self.runs[rows].add(seconds)
        self.shares.count += requests
        self.shares.seconds += requests * seconds
        self.last_run_at_s = time.time()
