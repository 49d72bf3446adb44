"""The released version and today's as child processes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests.upgrade.released import released

__all__ = ["NEW", "OLD", "environment", "run"]

OLD, NEW = "released", "today's"
CHILD_TIMEOUT_S = 200


def environment(version: str) -> dict[str, str]:
    """Returns what makes a child process import one version or the other."""
    return {"PYTHONPATH": str(released())} if version == OLD else {}


def run(version: str, *arguments: object, cwd: Path | None = None, exit_code: int = 0, **environ: str) -> str:
    """Runs Python with one version, and returns what it prints.

    Args:
        version: OLD or NEW.
        arguments: Those of Python.
        cwd: The folder to run in.
        exit_code: What it must end with.
        environ: Added to the environment.
    """
    command = [sys.executable, *map(str, arguments)]
    done = subprocess.run(
        command, env={**os.environ, **environment(version), **environ}, cwd=cwd, capture_output=True, text=True,
        timeout=CHILD_TIMEOUT_S, check=False,
    )  # fmt: skip
    assert done.returncode == exit_code, done.stderr or done.stdout
    return done.stdout
