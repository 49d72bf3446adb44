"""Music: MIDI files that can be saved, read, accompanied and reproduced."""

from __future__ import annotations

import io
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, overload

from muserve.v1 import music_pb2
from muserve_client.extras import extra
from muserve_client.info import Info, read_info
from muserve_client.naming import name_files
from muserve_client.saving import write_file

if TYPE_CHECKING:
    import mido

__all__ = [
    "MIDI_ENDINGS",
    "PICTURE_ENDINGS",
    "Accompaniment",
    "Music",
    "Piece",
    "Quantisation",
    "Track",
    "name_pieces",
    "read_accompaniment",
    "read_music",
]

MIDI_ENDINGS = (".mid", ".midi")
"""Endings of files that hold a piece."""
PICTURE_ENDINGS = (".png",)
"""Endings of files that hold its piano roll."""
_DEFAULT_NAME = "{model}-{seed}-{sample}"
_REMEDY = "give a folder, or a pattern with {sample}"
_TEXT_KEY = b"muserve {"


@dataclass(frozen=True)
class Track:
    """One track of a piece."""

    name: str
    """Its name in the file: "Bass"."""
    role: str
    """What it plays for the model: "bass"; empty for a track of the caller's that was kept without listening to it."""
    program: int
    """General MIDI program, 0 to 127; 0 for drums."""
    drums: bool
    """Whether it plays drums, on channel 10."""
    notes: int
    """Number of notes."""
    given: bool
    """Whether it comes from the caller's file."""


@dataclass(frozen=True)
class Piece:
    """One MIDI file of type 1, with one track per instrument."""

    midi: bytes = field(repr=False)
    """The file's content."""
    sample: int
    """Index in the seed's series."""
    style: str
    """Its style; empty for a model without styles."""
    tempo_bpm: float
    """Initial tempo, in quarter notes per minute."""
    bars: int
    """Length in bars."""
    tracks: tuple[Track, ...]
    """The tracks with instruments, in the order of the file."""
    piano_roll: bytes | None = field(default=None, repr=False)
    """A picture of the notes as PNG, time to the right; None unless requested with piano_roll=True."""

    @property
    def facts(self) -> dict[str, Any]:
        """Provenance stored in the file: model, version, digest, seed, sample and more. Empty if there is none."""
        _, key, text = self.midi.partition(_TEXT_KEY)
        try:
            facts, _ = json.JSONDecoder().raw_decode("{" + text.decode("utf-8", "replace")) if key else ({}, 0)
        except ValueError:
            return {}
        return facts

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes a file atomically, creating missing folders.

        Args:
            path: "x.mid" or "x.midi": the piece; "x.png": its piano roll, if requested.

        Returns:
            The path.

        Raises:
            ValueError: The path ends with something else, or there is no piano roll.
            OSError: It cannot be written.
        """
        suffix = Path(path).suffix.lower()
        if suffix in MIDI_ENDINGS:
            return write_file(path, self.midi)
        if suffix not in PICTURE_ENDINGS:
            allowed = ", ".join((*MIDI_ENDINGS, *PICTURE_ENDINGS))
            raise ValueError(f"{os.fspath(path)!r} ends with {suffix!r}; allowed: {allowed}")
        if self.piano_roll is None:
            raise ValueError("this piece has no piano roll; request it with piano_roll=True")
        return write_file(path, self.piano_roll)

    def to_mido(self) -> mido.MidiFile:
        """Reads the file with mido.

        Raises:
            ModuleNotFoundError: mido is not installed.
        """
        with extra("to_mido"):
            import mido
        return mido.MidiFile(file=io.BytesIO(self.midi))

    def _repr_png_(self) -> bytes | None:
        """Shows the piano roll in notebooks, if requested; this client draws none itself."""
        return self.piano_roll


@dataclass(frozen=True, repr=False)
class Music(Sequence[Piece]):
    """The pieces of one call, in the order of their samples."""

    pieces: tuple[Piece, ...]
    """The pieces."""
    info: Info
    """Model, seed and timings."""

    @overload
    def __getitem__(self, index: int) -> Piece: ...

    @overload
    def __getitem__(self, index: slice) -> tuple[Piece, ...]: ...

    def __getitem__(self, index: int | slice) -> Piece | tuple[Piece, ...]:
        return self.pieces[index]

    def __len__(self) -> int:
        return len(self.pieces)

    def __iter__(self) -> Iterator[Piece]:
        return iter(self.pieces)

    def __repr__(self) -> str:
        pieces = "1 piece" if len(self) == 1 else f"{len(self)} pieces"
        bars = self.pieces[0].bars if self.pieces else 0
        made_by = f"{self.info.model}/{self.info.version}, seed {self.info.seed}"
        return f"<{type(self).__name__}: {pieces}, {bars} bars, by {made_by}>"

    def save(self, where: str | os.PathLike[str]) -> list[Path]:
        """Writes each piece as a MIDI file, or each piano roll if `where` ends with .png, creating missing folders.

        Args:
            where: A folder; or a pattern such as "out/{style}-{sample}.mid" with the fields {index} (from 0),
                {sample}, {style}, {seed}, {model} and {version}; or, for a single piece, the path of its file.

        Returns:
            The paths, in the order of the pieces.

        Raises:
            ValueError: The pattern has an unknown field, or gives two pieces the same path; or see `Piece.save`.
            OSError: A file cannot be written.
        """
        return [piece.save(path) for piece, path in zip(self, name_pieces(self, where), strict=True)]

    def _repr_png_(self) -> bytes | None:
        """Shows a single piece in notebooks; see `Piece`."""
        return self.pieces[0].piano_roll if len(self) == 1 else None


@dataclass(frozen=True)
class Quantisation:
    """How well a file's notes fit the model's grid of steps."""

    notes: int
    """Notes that the model listened to."""
    folded_notes: int
    """Notes whose pitch was moved by octaves into the model's range, for the model to listen to."""
    mean_error_steps: float
    """Mean distance of a note's start from the nearest step, in steps: 0 to 0.5. About 0.25: no grid."""
    on_grid_share: float
    """Share of starts at most a tenth of a step from the grid."""
    bars: int
    """Bars of the file that were accompanied, counted from the first."""


@dataclass(frozen=True, repr=False)
class Accompaniment(Music):
    """The caller's piece, its notes unchanged, with new tracks, in as many versions as requested."""

    roles: Mapping[int, str]
    """Role assigned to each track with notes, by its index in the file: "bass"; "drums+bass" where its channels play
    different roles; "" where it was kept without listening to it."""
    quantisation: Quantisation
    """How well the caller's notes fit the grid on which the model listens. The notes themselves are not moved."""


def name_pieces(
    music: Music, where: str | os.PathLike[str], *, endings: Sequence[str] = (*MIDI_ENDINGS, *PICTURE_ENDINGS)
) -> list[Path]:
    """Names a file for each piece.

    Args:
        music: The pieces.
        where: See `Music.save`.
        endings: How files may end; in a folder they end like the first.

    Raises:
        ValueError: See `Music.save`.
    """
    parts = [
        {
            "index": index,
            "sample": piece.sample,
            "style": piece.style,
            "seed": music.info.seed,
            "model": music.info.model,
            "version": music.info.version,
        }
        for index, piece in enumerate(music)
    ]
    return name_files(where, parts, endings=endings, default=_DEFAULT_NAME + endings[0], remedy=_REMEDY)


def _read_piece(piece: music_pb2.MusicPiece) -> Piece:
    """Reads the wire's form."""
    return Piece(
        midi=piece.midi,
        sample=piece.sample,
        style=piece.style,
        tempo_bpm=piece.tempo_bpm,
        bars=piece.bars,
        tracks=tuple(
            Track(track.name, track.role, track.program, track.drums, track.notes, track.given)
            for track in piece.tracks
        ),
        piano_roll=piece.piano_roll_png or None,
    )


def read_music(response: music_pb2.GenerateMusicResponse) -> Music:
    """Reads the response."""
    return Music(tuple(map(_read_piece, response.pieces)), read_info(response.info))


def read_accompaniment(response: music_pb2.AccompanyResponse) -> Accompaniment:
    """Reads the response."""
    fit = response.quantisation
    return Accompaniment(
        pieces=tuple(map(_read_piece, response.pieces)),
        info=read_info(response.info),
        roles=_read_roles(response),
        quantisation=Quantisation(fit.notes, fit.folded_notes, fit.mean_error_steps, fit.on_grid_share, fit.bars),
    )


def _read_roles(response: music_pb2.AccompanyResponse) -> dict[int, str]:
    """Reads the roles by track; the parts of a track with several channels may play different ones."""
    found: dict[int, list[str]] = {}
    for part in response.roles:
        roles = found.setdefault(part.track, [])
        if part.role and part.role not in roles:
            roles.append(part.role)
    return {track: "+".join(roles) for track, roles in found.items()}
