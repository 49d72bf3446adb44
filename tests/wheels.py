"""The four distributions, built from what a fresh clone holds: once a test run, whichever worker comes first."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import venv
from pathlib import Path

import pytest
from filelock import FileLock

from tests.bundles import image_bundle

__all__ = ["DISTRIBUTIONS", "PROBE", "REPOSITORY", "build_all", "make_environment"]

REPOSITORY = Path(__file__).parents[1]
DISTRIBUTIONS = {
    "muserve": "clients/python",
    "muserve_server": "server",
    "muserve_export": "export",
    "muserve_models": "models",
}
"""Folders by the names in file names."""
PROBE = "wheel-probe"
"""A model that is built in beside the bundled ones."""


def build_all(factory: pytest.TempPathFactory) -> Path:
    """Builds source distributions, and from these the wheels, and returns their folder."""
    # With xdist each worker has a folder of its own inside the run's; without, that is the run's own.
    base = factory.getbasetemp()
    shared = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    with FileLock(shared / "wheels.lock"):
        out = shared / "dist"
        if not out.exists():
            clone = shared / "clone"
            _copy_tracked(clone)
            image_bundle(clone / "models", PROBE)
            for folder in DISTRIBUTIONS.values():
                command = [sys.executable, "-m", "build", "--no-isolation", "--outdir", str(shared / "unfinished")]
                done = subprocess.run([*command, str(clone / folder)], capture_output=True, text=True, check=False)
                if done.returncode:
                    raise RuntimeError(f"{folder} cannot be built:\n{done.stdout}{done.stderr}")
            (shared / "unfinished").rename(out)
    return out


def make_environment(folder: Path, dist: Path, *names: str, shares_packages: bool = True) -> Path:
    """Makes a virtual environment with some of the distributions, and returns its folder of programs.

    Args:
        folder: Where.
        dist: The wheels, as `build_all` returns.
        names: Which of them.
        shares_packages: Whether libraries come from this environment. Muserve's own packages never do: they are linked
            to here, and links are not followed there.
    """
    venv.create(folder, with_pip=False)
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    site = next(folder.glob("lib/python*/site-packages"))
    if shares_packages:
        (site / "zz_shared.pth").write_text("\n".join(path for path in sys.path if path.endswith("-packages")))
    wheels = [str(next(dist.glob(f"{name}-*.whl"))) for name in names]
    command = [sys.executable, "-m", "pip", "--python", str(programs / "python"), "install", "--quiet", "--no-deps"]
    subprocess.run([*command, "--disable-pip-version-check", "--no-index", *wheels], check=True, timeout=120)
    return programs


def _copy_tracked(copy: Path) -> None:
    """Copies what a fresh clone holds."""
    listed = subprocess.run(
        ["git", "ls-files", "-z"], cwd=REPOSITORY, capture_output=True, text=True, check=True
    ).stdout
    for name in filter(None, listed.split("\0")):
        if (REPOSITORY / name).is_file():
            (copy / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(REPOSITORY / name, copy / name)
