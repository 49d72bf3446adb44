"""Data and runs that the export tests share."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from muserve_export.cli import main

Command = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture(scope="session")
def image_tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A user's own data: 40 images in two classes, of several sizes and kinds."""
    folder = tmp_path_factory.mktemp("shapes")
    random = np.random.default_rng(0)
    for name in ("circle", "square"):
        (folder / name).mkdir()
        for index in range(20):
            size, radius = int(random.integers(20, 40)), int(random.integers(5, 9))
            rows, columns = np.mgrid[:size, :size] - size // 2
            inside = (
                rows**2 + columns**2 < radius**2 if name == "circle" else np.maximum(abs(rows), abs(columns)) < radius
            )
            picture = Image.fromarray((inside * 255).astype(np.uint8))
            picture = picture.convert("RGB") if index % 3 == 0 else picture
            picture.save(folder / name / f"{index:02d}.{'jpg' if index % 2 else 'png'}")
    return folder


@pytest.fixture(scope="session")
def export_command() -> Command:
    """Runs `muserve-export` in this process, where torch is loaded already; returns what a process would."""

    def run(*arguments: object, check: bool = True) -> subprocess.CompletedProcess[str]:
        words, code = [str(argument) for argument in arguments], 0
        with redirect_stdout(io.StringIO()) as output, redirect_stderr(io.StringIO()) as errors:
            try:
                main(words)
            except SystemExit as end:
                code = end.code if isinstance(end.code, int) else 1
                print(end.code, file=sys.stderr)
        if check:
            assert code == 0, errors.getvalue()
        return subprocess.CompletedProcess(words, code, output.getvalue(), errors.getvalue())

    return run


def train_in_two_processes(*arguments: str) -> None:
    """Runs `muserve-export train` under torchrun, and sees that one of the processes reports the end."""
    command = [
        sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node", "2", "-m", "muserve_export",
        "train", *arguments, "--device", "cpu",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=280)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("trained:") == 1


@pytest.fixture(scope="session")
def tiny_run(tmp_path_factory: pytest.TempPathFactory, image_tree: Path, export_command: Command) -> Path:
    """A finished run of the tiny recipe on the user's own images."""
    run = tmp_path_factory.mktemp("runs") / "tiny"
    export_command("train", "digits", "--recipe", "tiny", "--data", image_tree, "--out", run)
    return run
