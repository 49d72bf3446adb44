"""Creates the data folder, with MIDI files by style, from its sources.

The sources are the Debian packages `freedoom` (real songs) and `mma` (a program that plays our chord charts), or the
scores in the Python package `music21`. What is written is a plain tree, `<destination>/<style>/<piece>.mid`, and
`sources.json` beside the styles, which says where they come from. Files of one stem are one piece: a chart keeps its
name in all styles, so that a split by stem keeps it on one side.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import mido

from muserve_export.debian import fetch_package, unpack_package
from muserve_export.errors import DataError
from muserve_export.families.music.config import COLLECTED
from muserve_export.families.music.sources import classical, freedoom, mma
from muserve_export.families.music.sources.arrangement import read_arrangements
from muserve_export.families.music.sources.programs import notes_by_program

__all__ = ["INDEX", "Collected", "Source", "StyleCount", "collect_music"]

INDEX = "sources.json"
"""File that records the origin of the styles."""

_PACKAGES = ("freedoom", "mma")
_SCORES = Path("music21")
"""A source that is no path: the scores in the package of this name."""


@dataclass(frozen=True)
class Source:
    """Origin of some styles."""

    name: str
    """Name of its package."""
    origin: str
    """Description."""
    licence: str
    """Licence."""
    kind: str
    """`real` if people wrote the notes, `rendered` if a program played it from chords."""
    styles: Sequence[str]
    """The styles, which are folders."""


@dataclass(frozen=True)
class StyleCount:
    """Size of one style."""

    style: str
    """Its name."""
    kind: str
    """Name of its source."""
    pieces: int
    """Number of files."""
    bars: int
    """Bars of all of them, at the time signatures that they say."""
    instruments: float
    """Instruments that sound in a piece, on average; all drums are one."""


@dataclass(frozen=True)
class Collected:
    """Summary of what was written."""

    destination: Path
    """The folder."""
    sources: Sequence[Source]
    """Sources, as recorded in the index."""
    styles: Sequence[StyleCount]
    """Styles, by name."""

    def __str__(self) -> str:
        rows = [(s.style, s.pieces, s.bars, f"{s.instruments:.1f}", s.kind) for s in self.styles]
        lines = [("style", "pieces", "bars", "tracks", "kind"), *rows]
        return "\n".join(f"{a:<12}{b:>8}{c:>8}{d:>8}  {e}" for a, b, c, d, e in lines)


def collect_music(destination: Path, sources: Sequence[Path] = ()) -> Collected:
    """Creates the data of the bundled music model, or of the recipe classical.

    Args:
        destination: The folder to write. What an earlier call wrote there is replaced; other folders in it, such as
            styles of the user's own, stay.
        sources: WADs, Debian packages of Freedoom or MMA, or folders that hold any of these or an unpacked MMA; the
            word music21 stands for the scores in that package. If there are none, both Debian packages are downloaded
            with apt.

    Returns:
        What was written.

    Raises:
        DataError: A source is missing, damaged or of another kind, a folder of the user's own is in the way, or scores
            of unclear terms would come among the data of the bundled model.
    """
    if _SCORES in sources and destination.absolute() == Path(COLLECTED).absolute():
        raise DataError(
            f"--source {_SCORES}: its terms are unclear, and what is in {COLLECTED} counts as the bundled model's; "
            f"choose another folder: --out data/classical"
        )
    old = _styles_of(destination)
    with TemporaryDirectory() as scratch:
        found = _Sources()
        for source in sources or _download(Path(scratch)):
            found.look_at(source, Path(scratch))
        fresh = Path(scratch) / "music"
        written = _write(found, fresh)
        if not written:
            raise DataError(
                f"{', '.join(map(str, sources))}: holds neither a WAD nor MMA; pass a WAD, a Debian package of "
                f"freedoom or mma, a folder with any of these or with an unpacked mma, or the word {_SCORES}"
            )
        counts = [_count(fresh / style, source.kind) for source in written for style in source.styles]
        _replace(destination, fresh, old)
    index = json.dumps([asdict(source) for source in written], indent=2) + "\n"
    (destination / INDEX).write_text(index, encoding="utf-8")
    return Collected(destination, written, sorted(counts, key=lambda count: count.style))


class _Sources:
    """Contents of the sources."""

    def __init__(self) -> None:
        self.wads: list[Path] = []
        self.mma_root: Path | None = None
        self.works: list[classical.Work] = []

    def look_at(self, source: Path, scratch: Path) -> None:
        """Unpacks a source to WADs and MMA's root folder."""
        if source == _SCORES:
            self.works = classical.find_works()
        elif not source.exists():
            raise DataError(f"--source {source}: does not exist; pass a WAD, a .deb, or a folder that holds them")
        elif source.is_dir():
            self.mma_root = mma.find_mma(source) or self.mma_root
            self.wads += sorted(source.rglob("*.wad"))
            for package in sorted(source.rglob("*.deb")):
                self.look_at(package, scratch)
        elif source.suffix == ".deb":
            folder = Path(mkdtemp(dir=scratch))
            unpack_package(source, folder)
            self.look_at(folder, scratch)
        elif source.suffix.lower() == ".wad":
            self.wads.append(source)
        else:
            raise DataError(f"--source {source}: is no WAD (.wad), Debian package (.deb) or folder; pass one of these")


def _download(folder: Path) -> list[Path]:
    return [fetch_package(name, folder) for name in _PACKAGES]


def _write(found: _Sources, folder: Path) -> list[Source]:
    written = []
    if found.wads:
        freedoom.extract_songs(found.wads, folder)
        styles = [style for style in freedoom.STYLES if (folder / style).is_dir()]
        written.append(Source("freedoom", freedoom.ORIGIN, freedoom.LICENCE, "real", styles))
    if found.mma_root:
        mma.render_charts(found.mma_root, folder)
        styles = [arrangement.style for arrangement in read_arrangements()]
        written.append(Source("mma", mma.ORIGIN, mma.LICENCE, "rendered", styles))
    if found.works:
        paths = classical.write_scores(found.works, folder)
        styles = sorted({path.parent.name for path in paths})
        written.append(Source("music21", classical.ORIGIN, classical.LICENCE, "real", styles))
    return written


def _styles_of(destination: Path) -> set[str]:
    """Returns the styles that an earlier call wrote."""
    path = destination / INDEX
    if not path.is_file():
        return set()
    there = {folder.name for folder in destination.iterdir() if folder.is_dir()}
    try:
        index = json.loads(path.read_text(encoding="utf-8"))
        return there & {style for source in index for style in source["styles"]}
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise DataError(
            f"{path}: was not written by this command ({error!r}); move it away or choose another folder"
        ) from error


def _replace(destination: Path, fresh: Path, old: set[str]) -> None:
    """Replaces old styles by new ones."""
    styles = sorted(path.name for path in fresh.iterdir())
    for style in styles:
        if style not in old and (destination / style).exists():
            raise DataError(
                f"{destination / style}: exists and was not written by this command; move it away or choose another "
                f"folder with --out"
            )
    destination.mkdir(parents=True, exist_ok=True)
    for style in old:
        shutil.rmtree(destination / style)
    for style in styles:
        shutil.move(fresh / style, destination / style)


def _count(folder: Path, kind: str) -> StyleCount:
    songs = [mido.MidiFile(path) for path in sorted(folder.glob("*.mid"))]
    instruments = sum(len(notes_by_program(song)) for song in songs) / max(1, len(songs))
    return StyleCount(folder.name, kind, len(songs), sum(_bars(song) for song in songs), instruments)


def _bars(song: mido.MidiFile) -> int:
    """Whole and begun bars in 4/4, up to the last note."""
    metres, last = {0: (4, 4)}, 0
    for track in song.tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "time_signature":
                metres[now] = (message.numerator, message.denominator)
            elif message.type == "note_on" and message.velocity:
                last = max(last, now + 1)
    starts = sorted(metres)
    ends = [min(end, last) for end in [*starts[1:], last]]
    bar = 4 * song.ticks_per_beat
    return sum(
        -(-(end - start) // bar)
        for start, end in zip(starts, ends, strict=True)
        if metres[start] == (4, 4) and end > start
    )
