"""Chord charts: what is played, bar by bar, in plain text.

A file holds charts, with an empty line between them and comments after `#`:

    name: evening-tram
    key: C
    form: A A B A
    A: | Cmaj7 | Am7 | Dm7 | G7 | Em7 A7 | Dm7 G7 | Cmaj7 | % |
    B: | Gm7   | C7  | Fmaj7 | % | Am7 | D7 | Dm7 | G7 |

A bar has one, two or four chords, which share it evenly; `%` repeats the bar before. A section may go on in the next
line, which then begins with `|`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from muserve_export.errors import DataError

__all__ = ["Bar", "Chart", "parse_charts", "read_charts"]

Bar = tuple[str, ...]
"""The chords of one bar."""

_NAME = re.compile(r"[a-z0-9]+(-[a-z0-9]+)*")
_KEY = re.compile(r"[A-G][b#]?m?")
_QUALITIES = ("m7b5", "maj7", "dim7", "m6", "m7", "m9", "7b9", "7sus", "sus4", "dim", "aug", "m", "6", "7", "9", "13")
_CHORD = re.compile(rf"[A-G][b#]?({'|'.join(_QUALITIES)})?(/[A-G][b#]?)?")
_FIELD = re.compile(r"([A-Za-z]+)\s*:\s*(.*)")
_CHORDS_A_BAR = (1, 2, 4)


@dataclass(frozen=True)
class Chart:
    """One song's chords."""

    name: str
    """Lower-case words with hyphens; the stem of the files made of it."""
    key: str
    """Its tonic, with an `m` if it is in minor."""
    form: Sequence[str]
    """The sections in the order in which they are played."""
    sections: Mapping[str, Sequence[Bar]]
    """Section to its bars."""

    @property
    def bars(self) -> int:
        """How many bars the form has."""
        return sum(len(self.sections[section]) for section in self.form)


def read_charts(folder: Path) -> list[Chart]:
    """Reads all `*.txt` of a folder.

    Raises:
        DataError: There are none, one cannot be read, or two have one name.
    """
    charts: dict[str, Chart] = {}
    for path in sorted(folder.glob("*.txt")):
        try:
            text = path.read_text(encoding="utf-8")
        except (OSError, UnicodeDecodeError) as error:
            raise DataError(f"{path}: cannot be read as text ({error})") from error
        for chart in parse_charts(text, str(path)):
            if chart.name in charts:
                raise DataError(f"{path}: a second chart named {chart.name!r}; each needs a name of its own")
            charts[chart.name] = chart
    if not charts:
        raise DataError(f"{folder}: no chord charts; they are files that end in .txt")
    return list(charts.values())


def parse_charts(text: str, origin: str) -> list[Chart]:
    """Parses the charts of one file.

    Args:
        text: Its content.
        origin: Its name, for messages.

    Raises:
        DataError: A line cannot be understood, or a chart is not whole; says where.
    """
    charts = []
    lines: list[tuple[int, str]] = []
    for number, line in [*enumerate(text.splitlines(), 1), (0, "")]:
        # A sharp follows a letter; a comment begins a line or follows a space.
        content = re.sub(r"(^|\s)#.*", "", line).strip()
        if content:
            lines.append((number, content))
        elif lines and not line.strip():
            charts.append(_parse_chart(lines, origin))
            lines = []
    return charts


def _parse_chart(lines: Sequence[tuple[int, str]], origin: str) -> Chart:
    fields: dict[str, str] = {}
    sections: dict[str, list[Bar]] = {}
    name = ""
    for number, line in lines:
        place = f"{origin}, line {number}"
        if line.startswith("|") and name in sections:
            sections[name] += _parse_bars(line, place, sections[name])
            continue
        if not (match := _FIELD.fullmatch(line)):
            raise DataError(f"{place}: {line!r} is neither 'name: ...', 'key: ...', 'form: ...' nor 'A: | ... |'")
        name, value = match.groups()
        if name in fields or name in sections:
            raise DataError(f"{place}: {name!r} stands twice in one chart; an empty line parts charts")
        if name in ("name", "key", "form"):
            fields[name] = value
        else:
            sections[name] = _parse_bars(value, place, [])
    place = f"{origin}, line {lines[0][0]}"
    for field, pattern, example in (("name", _NAME, "evening-tram"), ("key", _KEY, "Bb or F#m")):
        if not pattern.fullmatch(fields.get(field, "")):
            raise DataError(f"{place}: {field} is {fields.get(field, '')!r}; it must look like {example}")
    form = tuple(fields.get("form", "").split())
    if not form or (unknown := sorted(set(form) - set(sections))):
        missing = f"names {', '.join(unknown)}" if form else "is empty"
        raise DataError(f"{place}: the form {missing}; the chart has the sections {', '.join(sections) or 'none'}")
    return Chart(fields["name"], fields["key"], form, sections)


def _parse_bars(text: str, place: str, before: Sequence[Bar]) -> list[Bar]:
    if not (text.startswith("|") and text.endswith("|") and len(text) > 1):
        raise DataError(f"{place}: bars stand between strokes, as in '| Dm7 | G7 |'; came {text!r}")
    bars: list[Bar] = []
    for cell in text[1:-1].split("|"):
        chords = tuple(cell.split())
        if chords == ("%",):
            if not (bars or before):
                raise DataError(f"{place}: '%' repeats the bar before, and there is none")
            bars.append(bars[-1] if bars else before[-1])
            continue
        if len(chords) not in _CHORDS_A_BAR:
            raise DataError(f"{place}: a bar has 1, 2 or 4 chords; '|{cell}|' has {len(chords)}")
        for chord in chords:
            if not _CHORD.fullmatch(chord):
                raise DataError(
                    f"{place}: {chord!r} is no chord; it is a root with one of {', '.join(_QUALITIES)} or nothing, and "
                    f"a bass after a stroke if need be: F#m7b5, C/E"
                )
        bars.append(chords)
    return bars
