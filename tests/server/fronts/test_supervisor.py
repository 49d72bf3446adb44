"""The process around Envoy, with a program in Envoy's place that does nothing: nothing is left behind."""

from __future__ import annotations

import os
import re
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muserve_server.fronts.envoy import supervisor
from muserve_server.fronts.envoy.process import missing
from muserve_server.fronts.envoy.supervisor import EnvoyFailedError, NotRunnableError, supervise

pytestmark = pytest.mark.skipif(bool(missing()), reason=missing())


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder for temporary files, empty at the end; the program in Envoy's place hangs, whatever it is told."""
    program = tmp_path / "hangs"
    program.write_text("#!/bin/sh\nexec sleep 1000\n")
    program.chmod(0o700)
    monkeypatch.setattr(supervisor, "envoy_path", lambda: program)
    folder = Path(tempfile.mkdtemp(prefix="t"))
    monkeypatch.setattr(tempfile, "tempdir", str(folder))
    yield folder
    folder.rmdir()


async def run(config_at: Any) -> None:
    await supervise(config_at, {}, threads=1, log_level="warning", max_stop_s=0.1)


async def test_a_signal_while_files_are_written_leaves_none_and_one_that_hangs_is_killed(folder: Path) -> None:
    def config_at(socket: Path) -> dict[str, Any]:
        assert socket.parent.parent == folder
        os.kill(os.getpid(), signal.SIGTERM)
        return {}

    with pytest.raises(EnvoyFailedError, match=r"did not stop within 0\.1 s, and was killed"):
        await run(config_at)


async def test_a_folder_that_cannot_be_written_to_is_named(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_socket: Path) -> dict[str, Any]:
        raise OSError(28, "No space left on device")

    with pytest.raises(NotRunnableError, match=r"No space left on device.*set TMPDIR"):
        await run(full)
    monkeypatch.setattr(tempfile, "tempdir", str(folder / "gone"))
    with pytest.raises(NotRunnableError, match=f"{folder}/gone.*set TMPDIR"):
        await run(full)


async def test_a_program_that_cannot_be_started_is_named(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert folder
    monkeypatch.setattr(supervisor, "envoy_path", lambda: tmp_path)
    with pytest.raises(NotRunnableError, match=re.escape(str(tmp_path))):
        await run(lambda _socket: {})
