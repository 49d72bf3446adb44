"""The songs of Freedoom: real pieces for several instruments, out of the game's WADs.

A song is left out when it is no use for bars of four quarters on a grid of sixteenths, by rules that measure it:

- it never is in 4/4;
- fewer than three quarters of its notes begin on the grid, even after its ticks were repaired: it was played freely;
- it says 4/4 and is not: what it plays repeats better after 24 sixteenths than after 32.

Its style is `rock` if overdriven or distorted guitars (GM programs 29 to 31) play at least 15 % of its notes, and
`ambient` if not.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path

import mido

from muserve_export.errors import DataError
from muserve_export.families.music.sources.programs import notes_by_program
from muserve_export.families.music.sources.ticks import on_grid_share, period_strength, repair
from muserve_export.families.music.sources.wad import midi_lumps

__all__ = ["LICENCE", "ORIGIN", "STYLES", "extract_songs", "style_of"]

STYLES = ("ambient", "rock")
ORIGIN = "Freedoom, https://freedoom.github.io: the MIDI lumps of freedoom1.wad and freedoom2.wad"
LICENCE = "as BSD-3-Clause, Copyright (c) 2001-2003 Contributors to the Freedoom project; see THIRD_PARTY.md"

_DISTORTED = range(29, 32)
_ROCK_SHARE = 0.15
_LYING_SHARE = 0.6
_MIN_SHARE = 0.75


def extract_songs(wads: Sequence[Path], destination: Path) -> list[Path]:
    """Writes the useful songs of WADs as `<destination>/<style>/freedoom-<lump>.mid`.

    Args:
        wads: Their paths; a song that several hold is written once.
        destination: A folder.

    Returns:
        What was written, in the order of the WADs.

    Raises:
        DataError: A WAD or a song in it is damaged, or there is not one useful song.
    """
    seen: set[bytes] = set()
    written: dict[str, Path] = {}
    for wad in wads:
        for name, content in midi_lumps(wad).items():
            if content in seen:
                continue
            seen.add(content)
            if (song := _prepare(content, f"{wad}, lump {name}")) is None:
                continue
            stem = f"freedoom-{name.removeprefix('d_')}"
            if stem in written:
                stem += f"-{wad.stem}"
            path = destination / style_of(song) / f"{stem}.mid"
            path.parent.mkdir(parents=True, exist_ok=True)
            song.save(path)
            written[stem] = path
    if not written:
        raise DataError(
            f"{', '.join(map(str, wads))}: no song in 4/4 among {len(seen)} MIDI lumps; pass freedoom1.wad or "
            f"freedoom2.wad"
        )
    return list(written.values())


def style_of(song: mido.MidiFile) -> str:
    """Returns the style of a song, by the share of its notes that distorted guitars play."""
    notes = notes_by_program(song)
    distorted = sum(notes[program] for program in _DISTORTED)
    return "rock" if distorted >= _ROCK_SHARE * max(notes.total(), 1) else "ambient"


def _prepare(content: bytes, origin: str) -> mido.MidiFile | None:
    """Parses a song and mends its ticks; None if it is of no use."""
    try:
        song = mido.MidiFile(file=io.BytesIO(content))
    except (OSError, EOFError, ValueError, LookupError, mido.KeySignatureError) as error:
        raise DataError(f"{origin}: cannot be read as MIDI ({error}); fetch the WAD again, or leave it out") from error
    if (share := on_grid_share(song)) < _LYING_SHARE and (mended := repair(song)):
        song, share = mended, on_grid_share(mended)
    metres = _metres(song)
    if (4, 4) not in metres or share < _MIN_SHARE:
        return None
    if metres == {(4, 4)} and period_strength(song, 24) > period_strength(song, 32):
        return None
    return song


def _metres(song: mido.MidiFile) -> set[tuple[int, int]]:
    """All time signatures; a song begins in 4/4 unless it says otherwise."""
    found: set[tuple[int, int]] = set()
    is_told_at_start = False
    for track in song.tracks:
        now = 0
        for message in track:
            now += message.time
            if message.type == "time_signature":
                found.add((message.numerator, message.denominator))
                is_told_at_start |= now == 0
    return found if is_told_at_start else found | {(4, 4)}
