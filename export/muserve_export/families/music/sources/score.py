"""Reads scores with music21, in bars of the model's grid.

Each part's measures are laid end to end by what most parts say of their lengths: in some scores one part counts a trill
or a tuplet wrongly, and would drift away from the others by what comes after. So that bars come out whole,

- a pickup comes after as much silence as fills its bar;
- measures that a repeat or a double bar parted are one bar again;
- 2/2 is written as 4/4, which has the same bars;
- a measure that its signature does not explain gets one of its own.

Repeats are not played, graces are left out, and all notes are equally loud. Tempi are kept if the score begins with
one.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from xml.etree.ElementTree import ParseError
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from muserve_export.errors import DataError
from muserve_server.tasks.music.song import Song, SongTrack

if TYPE_CHECKING:
    from music21 import stream

__all__ = ["read_score"]

_TICKS_PER_BEAT = 480
_UNIT_TICKS = 120
"""Lengths of measures are whole sixteenths."""
_TIE_TICKS = 60
"""How much a note that is tied on may be too short."""
_VELOCITY = 80
_US_PER_MINUTE = 60e6


@dataclass(frozen=True)
class _Measure:
    """What one measure is in all parts."""

    length: int
    """In sixteenths."""
    signature: tuple[int, int]
    """The one that it stands under."""
    full: int
    """The length that its signature asks for."""


def read_score(path: Path) -> Song:
    """Reads a score: a track a part, in its order, all of them of program 0 on channel 0.

    Args:
        path: A file that music21 reads: MusicXML and others.

    Raises:
        DataError: music21 cannot read it.
    """
    from music21 import converter, exceptions21, stream

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # on notation that is no matter here
        try:
            score = converter.parse(path, forceSource=True, storePickle=False)
        except (exceptions21.Music21Exception, ParseError, BadZipFile, OSError, ValueError) as error:
            raise DataError(f"{path}: music21 cannot read it ({error}); install music21 again") from error
    if not isinstance(score, stream.Score):
        raise DataError(f"{path}: is no single score")
    parts = [(part.partName or "", list(part.getElementsByClass(stream.Measure))) for part in score.parts]
    measures = list(_compare([own for _, own in parts]))
    starts, signatures = _lay_bars(measures)
    tracks = []
    for index, (name, own) in enumerate(parts):
        notes = _notes(own, starts, measures)
        if len(notes):
            tracks.append(SongTrack(index, 0, name, 0, notes))
    return Song(
        ticks_per_beat=_TICKS_PER_BEAT,
        tracks=tuple(tracks),
        tempos=_tempos([own for _, own in parts], starts),
        time_signatures=signatures,
        end_tick=max((int(track.notes[:, 1].max()) for track in tracks), default=0),
    )


def _compare(parts: Sequence[Sequence[stream.Measure]]) -> Iterator[_Measure]:
    """Compares what the parts say of each measure."""
    signature = (4, 4)
    for index in range(max(map(len, parts), default=0)):
        here = [part[index] for part in parts if index < len(part)]
        if said := next((measure.timeSignature for measure in here if measure.timeSignature), None):
            signature = (said.numerator, said.denominator)
        full = 16 * signature[0] // signature[1]
        lengths = Counter(round(4 * measure.duration.quarterLength) for measure in here)
        # Of lengths that equally many parts have, that of the signature.
        length = max(lengths, key=lambda length: (lengths[length], length == full))
        yield _Measure(length, (4, 4) if signature == (2, 2) else signature, full)


def _lay_bars(measures: Sequence[_Measure]) -> tuple[list[int], NDArray[np.int64]]:
    """Lays measures end to end.

    Returns:
        The tick at which each begins, and time signatures as those of `Song`.
    """
    starts: list[int] = []
    signatures: list[tuple[int, int, int]] = []
    now = 0
    for group in _bars(measures):
        first, length = group[0], sum(measure.length for measure in group)
        is_short = length < first.full
        signature = first.signature
        if now == 0 and is_short:
            now = (first.full - length) * _UNIT_TICKS
        elif length != first.full and not (is_short and group[-1] is measures[-1]):
            signature = _of_length(length)
        if not signatures or signatures[-1][1:] != signature:
            signatures.append((now if signatures else 0, *signature))
        for measure in group:
            starts.append(now)
            now += measure.length * _UNIT_TICKS
    return starts, np.array(signatures, np.int64).reshape(-1, 3)


def _bars(measures: Sequence[_Measure]) -> Iterator[Sequence[_Measure]]:
    """Joins short measures that fill a bar together."""
    first = 0
    while first < len(measures):
        full, length, last = measures[first].full, 0, first
        while last < len(measures) and measures[last].length < full and length < full:
            length += measures[last].length
            last += 1
        if length != full:
            last = first + 1
        yield measures[first:last]
        first = last


def _of_length(length: int) -> tuple[int, int]:
    """Returns the signature of a bar of so many sixteenths, in the longest beats that it has."""
    beats, unit = length, 16
    while unit > 4 and not beats % 2:
        beats, unit = beats // 2, unit // 2
    return beats, unit


def _notes(part: Sequence[stream.Measure], starts: Sequence[int], measures: Sequence[_Measure]) -> NDArray[np.int64]:
    """Returns the notes of a part, as those of `SongTrack`; what is tied is one note."""
    rows: list[list[int]] = []
    tied: dict[int, list[int]] = {}
    for measure, begin, size in zip(part, starts, (measure.length * _UNIT_TICKS for measure in measures), strict=False):
        for offset, length, pitch, tie in _heads(measure):
            start, end = begin + offset, begin + min(offset + length, size)
            if start >= end:
                continue
            row = tied.pop(pitch, None)
            if row and tie in ("stop", "continue") and 0 <= start - row[1] <= _TIE_TICKS:
                row[1] = end
            else:
                row = [start, end, pitch, _VELOCITY]
                rows.append(row)
            if tie in ("start", "continue"):
                tied[pitch] = row
    return _clean(np.array(rows, np.int64).reshape(-1, 4))


def _heads(measure: stream.Measure) -> Iterator[tuple[int, int, int, str]]:
    """Yields the note heads of a measure: offset and length in ticks, pitch, kind of tie."""
    from music21 import chord, harmony, note

    for element in measure.flatten().notes:
        if isinstance(element, harmony.Harmony) or element.duration.isGrace:
            continue
        offset, length = (
            round(quarters * _TICKS_PER_BEAT) for quarters in (element.offset, element.duration.quarterLength)
        )
        for head in element.notes if isinstance(element, chord.Chord) else [element]:
            if isinstance(head, note.Note):
                yield offset, length, head.pitch.midi, head.tie.type if head.tie else ""


def _clean(notes: NDArray[np.int64]) -> NDArray[np.int64]:
    """Sorts notes, and ends each where its pitch begins again: voices meet."""
    notes = notes[np.lexsort((notes[:, 1], notes[:, 0], notes[:, 2]))]
    again = notes[1:, 2] == notes[:-1, 2]
    notes[:-1, 1][again] = np.minimum(notes[:-1, 1], notes[1:, 0])[again]
    notes = notes[notes[:, 1] > notes[:, 0]]
    result: NDArray[np.int64] = notes[np.lexsort((notes[:, 2], notes[:, 0]))]
    return result


def _tempos(parts: Sequence[Sequence[stream.Measure]], starts: Sequence[int]) -> NDArray[np.int64]:
    """Returns the tempi, as those of `Song`: none if the first comes later, since until then 120 would be meant."""
    from music21 import tempo

    found: dict[int, int] = {}
    for part in parts:
        for measure, begin in zip(part, starts, strict=False):
            for mark in measure.recurse().getElementsByClass(tempo.MetronomeMark):
                if tempo_bpm := mark.getQuarterBPM():
                    tick = begin + round(mark.getOffsetInHierarchy(measure) * _TICKS_PER_BEAT)
                    found.setdefault(0 if tick == starts[0] else tick, round(_US_PER_MINUTE / tempo_bpm))
    rows = sorted(found.items()) if 0 in found else []
    return np.array(rows, np.int64).reshape(-1, 2)
