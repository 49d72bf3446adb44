"""How a chord chart is played in a style: which of its grooves, at which tempo, how densely.

For each style there is a file in `grooves/` that takes MMA's grooves of that style, adds the parts that they lack, and
names the results: `Opening`, `Fill` and `Ending` where the style has them, and `Verse` and `Chorus` in three
densities. Its first lines say its tempi, and how many bars opening and ending have.

Which density is played depends on the tempo, as it does for musicians: the slowest third of the style's range is
played busily (Verse1, Chorus1: subdivisions down to sixteenths), the middle third plainly (2), the fastest third
sparsely (3). So how many notes a bar has follows from style and tempo, and a model can learn it.

A piece is: the opening over the last bars of the first section, the form once, with a fill in the last bar of each
section but the last, and the ending over the last bars. The first section of a form and all repeats of it are
verses, the others choruses.

Timing is on the grid: MMA's random shifts and its strums are turned off. Its random choices of variations, accents and
left-out hits stay, from a seed that chart and style make.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

from muserve_export.errors import DataError
from muserve_export.families.music.sources.chart import Bar, Chart

__all__ = ["Arrangement", "read_arrangements", "song_text", "tempo_of"]

_GROOVES = Path(__file__).with_name("grooves")
_HEADER = re.compile(r"// (tempo|opening|ending) (\d+)(?:-(\d+))?")
_ON_GRID = "AllTracks RTime 0\nAllTracks Strum 0"
"""Said again after each change of groove, since a groove brings its own."""
_DENSITIES = 3


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
        return 1 + int(_DENSITIES * share)


def read_arrangements() -> list[Arrangement]:
    """Reads the styles, in the order of their names.

    Raises:
        DataError: A file does not say its tempi.
    """
    return [_read_arrangement(path) for path in sorted(_GROOVES.glob("*.mma"))]


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


def _read_arrangement(path: Path) -> Arrangement:
    text = path.read_text(encoding="utf-8")
    said = {name: (int(first), int(last or first)) for name, first, last in _HEADER.findall(text)}
    if "tempo" not in said:
        raise DataError(f"{path}: does not say its tempi; its first line must be like '// tempo 84-150'")
    slowest, fastest = said["tempo"]
    return Arrangement(path.stem, slowest, fastest, said.get("opening", (0, 0))[0], said.get("ending", (0, 0))[0], text)


def _plan(chart: Chart, arrangement: Arrangement, density: int) -> list[tuple[str, Bar]]:
    """The groove and the chords of each bar."""
    opening = arrangement.opening_bars
    plan = [("Opening", bar) for bar in chart.sections[chart.form[0]][-opening:]] if opening else []
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
