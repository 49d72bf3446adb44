"""Runs the tests three times beside processes that burn every core: none may hang on how fast the machine is."""

from __future__ import annotations

import multiprocessing
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROUNDS = 3
SUITE = [
    sys.executable, "-m", "pytest", "-n", "auto", "--dist", "worksteal", "-q",
    "--ignore", "tests/upgrade", "--ignore", "tests/ecosystem",
]  # fmt: skip


def main() -> int:
    """Returns 0 if all rounds passed, which pytest options given as arguments may narrow."""
    failed = 0
    with burning(os.cpu_count() or 1) as burners:
        print(f"{burners} processes burn a core each", flush=True)
        for number in range(1, ROUNDS + 1):
            started = time.monotonic()
            code = subprocess.run([*SUITE, *sys.argv[1:]], cwd=Path(__file__).parents[1], check=False).returncode
            failed += code != 0
            verdict = "failed" if code else "passed"
            print(f"round {number} of {ROUNDS}: {verdict} in {time.monotonic() - started:.0f} s", flush=True)
    print(f"{ROUNDS - failed} of {ROUNDS} rounds passed")
    return 1 if failed else 0


@contextmanager
def burning(count: int) -> Iterator[int]:
    """Burns as many cores inside the block."""
    burners = [multiprocessing.Process(target=_burn, args=(os.getpid(),), daemon=True) for _ in range(count)]
    for burner in burners:
        burner.start()
    try:
        yield count
    finally:
        for burner in burners:
            burner.kill()
            burner.join()


def _burn(parent: int) -> None:
    while os.getppid() == parent:  # it ends by itself if the parent was killed
        sum(range(1_000_000))


if __name__ == "__main__":
    sys.exit(main())
