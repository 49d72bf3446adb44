"""MMA (Musical MIDI Accompaniment) plays the chord charts in its named styles.

MMA is run as a program, of its own package; none of its code and none of its grooves is in Muserve. One chart and one
style always give the same bytes (compared on Python 3.6 to 3.13).
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory

from muserve_export.errors import DataError
from muserve_export.families.music.sources.arrangement import Arrangement, read_arrangements, song_text
from muserve_export.families.music.sources.chart import Chart, read_charts

__all__ = ["CHARTS", "LICENCE", "ORIGIN", "find_mma", "render_charts"]

ORIGIN = "chord charts of Muserve, played by MMA, https://www.mellowood.ca/mma, with the grooves of its library"
LICENCE = "charts: Muserve's own, Apache-2.0; MMA and its grooves: GPL-2+, used as a tool; see THIRD_PARTY.md"

CHARTS = Path(__file__).with_name("charts")
"""The folder of our chord charts."""

_PROCESSES = 2
_TIMEOUT_S = 120


def find_mma(folder: Path) -> Path | None:
    """Returns the root of an unpacked MMA in or under a folder: the one that holds usr/bin/mma."""
    found = sorted(folder.glob("**/bin/mma"))
    return next((path.parents[1] for path in found if (path.parents[1] / "share/mma/MMA").is_dir()), None)


def render_charts(
    mma: Path, destination: Path, *, charts: Sequence[Chart] = (), styles: Sequence[str] = ()
) -> list[Path]:
    """Plays charts in styles, to `<destination>/<style>/<chart>.mid`.

    Args:
        mma: MMA's root, which holds bin/mma and share/mma.
        destination: A folder.
        charts: Which charts; all if empty.
        styles: Which styles; all if empty.

    Returns:
        What was written.

    Raises:
        DataError: MMA refuses a song; says what it said.
    """
    arrangements = [one for one in read_arrangements() if not styles or one.style in styles]
    # MMA runs in a folder of its own, where no file of the user's can be taken for one of its own.
    mma, destination = mma.absolute(), destination.absolute()
    jobs = [(chart, arrangement) for arrangement in arrangements for chart in charts or read_charts(CHARTS)]
    with TemporaryDirectory() as scratch, ThreadPoolExecutor(_PROCESSES) as pool:
        return list(pool.map(lambda job: _render(mma, destination, Path(scratch), *job), jobs))


def _render(mma: Path, destination: Path, scratch: Path, chart: Chart, arrangement: Arrangement) -> Path:
    path = destination / arrangement.style / f"{chart.name}.mid"
    path.parent.mkdir(parents=True, exist_ok=True)
    song = scratch / f"{arrangement.style}-{chart.name}.mma"
    song.write_text(song_text(chart, arrangement), encoding="utf-8")
    # An empty start-up file in place of the user's ~/.mmarc, and a fixed hash seed: the same bytes everywhere.
    start = scratch / "start.mma"
    start.touch()
    command = [sys.executable, str(mma / "bin/mma"), "-w", "-xNOCREDIT", "-i", str(start), "-f", str(path), str(song)]
    environment = os.environ | {
        "MMA_HOME": str(mma / "share/mma"),
        "PYTHONHASHSEED": "0",
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command, env=environment, cwd=scratch, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"MMA at {mma} cannot play {chart.name} as {arrangement.style}: {error}") from error
    if done.returncode or not path.is_file():
        said = " ".join((done.stdout + done.stderr).split())[-300:]
        raise DataError(f"MMA at {mma} cannot play {chart.name} as {arrangement.style}; it says: {said}")
    return path
