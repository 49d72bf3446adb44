"""Bach's chorales, and movements of four composers: scores that the package music21 carries, as MIDI.

The highest part is played by strings, the lowest by a bass, those between by keys and guitar in turn: so the standard
form spreads them over its tracks. A part that doubles another is left out, and so is a score that is never in 4/4.
"""

from __future__ import annotations

import importlib.util
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from pathlib import Path

from muserve_export.errors import DataError
from muserve_export.families.music.sources.score import read_score
from muserve_server.tasks.music.midi_writer import write_song
from muserve_server.tasks.music.song import DRUM_CHANNEL, Song, SongTrack

__all__ = ["COMPOSERS", "LICENCE", "ORIGIN", "Work", "arrange", "find_works", "write_scores"]

COMPOSERS = ("bach", "beethoven", "haydn", "mozart", "schumann_robert")
"""Folders of the corpus. A style is the name up to the underscore."""
ORIGIN = "scores in the corpus of music21, https://www.music21.org: Bach's chorales, movements of the others"
LICENCE = "unclear; for your own training only"

_SUFFIXES = (".mxl", ".xml")  # the others are analyses in Roman numerals, and doubles
_NO_CHORALE, _DOUBLE = "bach/bwv846.mxl", "schumann_robert/dichterliebe_no2.xml"
_STRINGS, _BASS, _KEYS, _GUITAR = 48, 32, 0, 24
_SAME_SHARE = 0.9
_CHANNELS = tuple(channel for channel in range(16) if channel != DRUM_CHANNEL)


@dataclass(frozen=True)
class Work:
    """One file of the corpus."""

    style: str
    """The composer."""
    name: str
    """Composer and work: "haydn-opus74no1-movement1"."""
    path: Path


def find_works() -> list[Work]:
    """Finds the scores in the installed package.

    Raises:
        DataError: The package is missing, or its corpus.
    """
    package = importlib.util.find_spec("music21")
    if package is None or package.origin is None:
        raise DataError(
            "--source music21: needs the package music21, which carries the scores and is not installed: "
            "pip install 'muserve[classical]'"
        )
    corpus = Path(package.origin).with_name("corpus")
    works = []
    for composer in COMPOSERS:
        folder, style = corpus / composer, composer.partition("_")[0]
        paths = [path for path in sorted(folder.rglob("*")) if path.suffix in _SUFFIXES]
        if not paths:
            raise DataError(
                f"--source music21: {folder} holds no scores; install music21 with its corpus: "
                f"pip install --force-reinstall music21"
            )
        for path in paths:
            if path.relative_to(corpus).as_posix() not in (_NO_CHORALE, _DOUBLE):
                name = "-".join((style, *path.relative_to(folder).with_suffix("").parts))
                works.append(Work(style, name, path))
    return works


def write_scores(works: Sequence[Work], destination: Path) -> list[Path]:
    """Writes scores as `<destination>/<style>/<name>.mid`.

    Args:
        works: Which, out of `find_works`.
        destination: A folder.

    Returns:
        What was written; notes that two files have are written once.

    Raises:
        DataError: music21 cannot read a score, or not one of them is in 4/4.
    """
    seen: set[bytes] = set()
    written = []
    for work in works:
        song = arrange(read_score(work.path))
        notes = b"".join(track.notes.tobytes() for track in song.tracks)
        if not notes or notes in seen or [4, 4] not in song.time_signatures[:, 1:].tolist():
            continue
        seen.add(notes)
        path = destination / work.style / f"{work.name}.mid"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(write_song(song, text=f"{work.name}, out of the corpus of music21"))
        written.append(path)
    if not written:
        raise DataError(f"--source music21: not one of {len(works)} scores is in 4/4")
    return written


def arrange(score: Song) -> Song:
    """Gives the parts of a score their instruments, by their mean pitch, and leaves out those that double another.

    Raises:
        DataError: There are more parts than channels.
    """
    parts: list[SongTrack] = []
    for part in score.tracks:
        if not any(_is_double(part, other) for other in parts):
            parts.append(part)
    if len(parts) > len(_CHANNELS):
        raise DataError(f"a score has {len(parts)} parts; MIDI has channels for {len(_CHANNELS)}")
    parts.sort(key=lambda part: -part.notes[:, 2].mean())
    between = cycle((_KEYS, _GUITAR))
    programs = [_STRINGS, *(next(between) for _ in parts[2:]), _BASS][: len(parts)]
    tracks = [
        replace(part, program=program, channel=channel)
        for part, program, channel in zip(parts, programs, _CHANNELS[: len(parts)], strict=True)
    ]
    return replace(score, tracks=tuple(tracks))


def _is_double(part: SongTrack, other: SongTrack) -> bool:
    """Whether nearly all notes of a part are those of another, too."""
    own, others = ({(start, pitch) for start, _, pitch, _ in track.notes.tolist()} for track in (part, other))
    return len(own & others) >= _SAME_SHARE * len(own)
