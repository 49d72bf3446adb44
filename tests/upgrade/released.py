"""The released Muserve, built from its commit: what upgrades are tested against."""

from __future__ import annotations

import io
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

from filelock import FileLock

__all__ = ["COMMIT", "REPOSITORY", "build", "released", "released_fixtures"]

COMMIT = "1641562c562aa5030e9deb8b4363c51e0c373a0f"
REPOSITORY = Path(__file__).parents[2]


def released() -> Path:
    """Builds the released version once, and returns a folder to put into PYTHONPATH. It has its models inside.

    Raises:
        RuntimeError: This clone lacks the commit; says how to get it.
    """
    folder = REPOSITORY / "build" / "released" / COMMIT[:12]
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.with_suffix(".lock")):
        if not folder.exists():
            build(COMMIT, folder.with_suffix(".unfinished"))
            folder.with_suffix(".unfinished").rename(folder)
    return folder / "site"


def released_fixtures() -> Path:
    """Returns the folder of the released fixture bundle."""
    return released().parent / "source/tests/fixtures/bundles"


def build(commit: str, folder: Path) -> None:
    """Builds a commit's wheel, and installs it into `folder`/site; its tree is in `folder`/source.

    Raises:
        RuntimeError: This clone lacks the commit; says how to get it.
    """
    shutil.rmtree(folder, ignore_errors=True)
    archive = subprocess.run(["git", "archive", commit], cwd=REPOSITORY, capture_output=True, check=False)
    if archive.returncode:
        raise RuntimeError(
            f"the released commit {commit} is not in this clone ({archive.stderr.decode().strip()}); fetch it: "
            f"git fetch origin {commit}, or the whole history: git fetch --unshallow"
        )
    with tarfile.open(fileobj=io.BytesIO(archive.stdout)) as tar:
        tar.extractall(folder / "source", filter="data")
    pip = [sys.executable, "-m", "pip", "--quiet", "--disable-pip-version-check"]
    wheel = [*pip, "wheel", "--no-deps", "--no-build-isolation", "--wheel-dir", str(folder), str(folder / "source")]
    subprocess.run(wheel, check=True, timeout=300)
    (path,) = folder.glob("*.whl")
    subprocess.run([*pip, "install", "--no-deps", "--target", str(folder / "site"), str(path)], check=True, timeout=300)
    path.unlink()
