"""Arrangements of the chord charts, played by MMA (Musical MIDI Accompaniment) in its named styles.

MMA is run as a program; none of its code or grooves is copied here. For each style there is a file in `grooves/` that
takes MMA's grooves of that style, adds the parts that they lack, and names the results: `Opening`, `Fill` and `Ending`
where the style has them, and `Verse` and `Chorus` in three densities. Which density is played depends on the tempo,
as it does for musicians: the slowest third of the style's range is played busily (Verse1, Chorus1: subdivisions down
to sixteenths), the middle third plainly (2), the fastest third sparsely (3). So how many notes a bar has follows from
style and tempo, and a model can learn it.

A piece is: the opening over the last bars of the first section, the form once, with a fill in the last bar of each
section but the last, and the ending over the last bars. The first section of a form and all repeats of it are
verses, the others choruses. Timing is on the grid: MMA's random shifts and strums are turned off; its random choices
of variations, accents and left-out hits stay, from a seed that chart and style make. One chart and style always
give the same bytes.
"""

from __future__ import annotations

import hashlib
import os
import re
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

from muserve_export.errors import DataError
from muserve_export.families.music.sources.chart import Bar, Chart, read_charts

__all__ = [
    "LICENCE",
    "ORIGIN",
    "Arrangement",
    "find_mma",
    "read_arrangements",
    "render_charts",
    "song_text",
    "tempo_of",
]

ORIGIN = "chord charts of Muserve, played by MMA 21.09, https://www.mellowood.ca/mma, with its groove library"
LICENCE = "charts: Muserve's own (Apache-2.0); MMA and its grooves: GPL-2+, used as a tool"

CHARTS = Path(__file__).with_name("charts")
GROOVES = Path(__file__).with_name("grooves")
_PROCESSES = 2
_TIMEOUT_S = 120
_HEADER = re.compile(r"// (tempo|opening|ending) (\d+)(?:-(\d+))?")
_ON_GRID = "AllTracks RTime 0\nAllTracks Strum 0"
"""Said again after each change of groove, since a groove brings its own."""


@dataclass(frozen=True)
class Arrangement:
    """How one style is played."""

    style: str
    """Its name."""
    slowest_bpm: int
    """Lower end of its tempi."""
    fastest_bpm: int
    """Upper end of its tempi."""
    opening_bars: int
    """Length of the opening; 0 if it has none."""
    ending_bars: int
    """Length of the ending; 0 if it has none."""
    text: str
    """MMA's commands that define the grooves."""

    @property
    def has_fill(self) -> bool:
        """Whether it has a fill, of one bar."""
        return "DefGroove Fill" in self.text

    def density(self, tempo_bpm: int) -> int:
        """Returns 1 (busy), 2 or 3 (sparse): in which third of its tempi a tempo lies."""
        share = (tempo_bpm - self.slowest_bpm) / (self.fastest_bpm + 1 - self.slowest_bpm)
        return 1 + int(3 * share)


def read_arrangements(folder: Path = GROOVES) -> list[Arrangement]:
    """Reads the styles, in the order of their names.

    Raises:
        DataError: A file does not say its tempi.
    """
    return [_read_arrangement(path) for path in sorted(folder.glob("*.mma"))]


def tempo_of(chart: Chart, arrangement: Arrangement) -> int:
    """Draws the tempo of a piece from the style's range, always the same one, in bpm."""
    span = arrangement.fastest_bpm + 1 - arrangement.slowest_bpm
    return arrangement.slowest_bpm + _draw(chart, arrangement, "tempo") % span


def song_text(chart: Chart, arrangement: Arrangement) -> str:
    """Writes the song for MMA that plays a chart in a style."""
    tempo_bpm = tempo_of(chart, arrangement)
    lines = [
        f"RndSeed {_draw(chart, arrangement, 'notes')}",
        f"KeySig {chart.key.removesuffix('m')} {'Minor' if chart.key.endswith('m') else 'Major'}",
        f"Tempo {tempo_bpm}",
        arrangement.text,
    ]
    groove = ""
    for name, bar in _plan(chart, arrangement, arrangement.density(tempo_bpm)):
        if name != groove:
            lines += [f"Groove {name}", _ON_GRID]
            groove = name
        lines.append(_bar_text(bar))
    return "\n".join(lines) + "\n"


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


def _read_arrangement(path: Path) -> Arrangement:
    text = path.read_text(encoding="utf-8")
    said = {name: (int(first), int(last or first)) for name, first, last in _HEADER.findall(text)}
    if "tempo" not in said:
        raise DataError(f"{path}: does not say its tempi; its first line must be like '// tempo 84-150'")
    slowest, fastest = said["tempo"]
    return Arrangement(path.stem, slowest, fastest, said.get("opening", (0, 0))[0], said.get("ending", (0, 0))[0], text)


def _plan(chart: Chart, arrangement: Arrangement, density: int) -> list[tuple[str, Bar]]:
    """The groove and the chords of each bar."""
    first = chart.sections[chart.form[0]]
    plan = (
        [("Opening", bar) for bar in first[len(first) - arrangement.opening_bars :]] if arrangement.opening_bars else []
    )
    for place, section in enumerate(chart.form):
        groove = f"{'Verse' if section == chart.form[0] else 'Chorus'}{density}"
        bars = [(groove, bar) for bar in chart.sections[section]]
        if arrangement.has_fill and place + 1 < len(chart.form):
            bars[-1] = ("Fill", bars[-1][1])
        plan += bars
    if arrangement.ending_bars:
        last = [bar for _, bar in plan[-arrangement.ending_bars :]]
        plan[-arrangement.ending_bars :] = [("Ending", bar) for bar in last]
    return plan


def _bar_text(bar: Bar) -> str:
    """A bar for MMA: each chord on its beat, and a stroke on the beats that go on."""
    return " ".join(chord + " /" * (4 // len(bar) - 1) for chord in bar)


def _draw(chart: Chart, arrangement: Arrangement, purpose: str) -> int:
    digest = hashlib.sha256(f"{chart.name}\0{arrangement.style}\0{purpose}".encode()).digest()
    return int.from_bytes(digest[:6])
