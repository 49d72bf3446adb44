"""The table of palettes: of each mood the last palette is for testing, the one before for validation."""

from __future__ import annotations

import csv
import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError
from muserve_palette.colours import COLOURS, from_hex
from muserve_palette.config import PaletteConfig

__all__ = ["Mood", "PaletteData", "load_data"]

_OWN = Path(__file__).with_name("palettes.csv")
_MIN_PALETTES = 4


@dataclass(frozen=True)
class Mood:
    """One mood."""

    words: tuple[str, ...]
    """What it is called; the first is its name."""
    palettes: NDArray[np.float32]
    """[palette, colour, 3] in OKLab, each from dark to light."""

    def part(self, name: str) -> NDArray[np.float32]:
        """Returns the palettes of "training", "validation" or "test"."""
        parts = {"training": slice(None, -2), "validation": slice(-2, -1), "test": slice(-1, None)}
        return self.palettes[parts[name]]


@dataclass(frozen=True)
class PaletteData:
    """The whole table."""

    moods: Sequence[Mood]
    """At least one."""
    name: str
    """Where it comes from."""

    @cached_property
    def sha256(self) -> str:
        """Digest of words and colours; their order is their split."""
        digest = hashlib.sha256()
        for mood in self.moods:
            digest.update("|".join(mood.words).encode() + mood.palettes.tobytes())
        return digest.hexdigest()

    @property
    def words(self) -> list[str]:
        """Every word of every mood."""
        return [word for mood in self.moods for word in mood.words]

    @property
    def source(self) -> manifest_pb2.TrainingData:
        """What the manifest says of it."""
        split = f"{sum(len(mood.part('training')) for mood in self.moods)} training, 1 validation and 1 test a mood"
        return manifest_pb2.TrainingData(name=self.name, split=f"{len(self.moods)} moods: {split}")


def load_data(config: PaletteConfig) -> PaletteData:
    """Loads the table.

    Raises:
        DataError: It cannot be read, or a mood has fewer than four palettes.
    """
    path = Path(config.data) if config.data else _OWN
    try:
        with path.open(newline="", encoding="utf-8") as file:
            moods = [Mood(words, palettes) for words, palettes in _grouped(list(csv.DictReader(file)), path).items()]
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(f"{path}: cannot be read ({error})") from error
    if not moods:
        raise DataError(f"{path} has no palettes; give rows with mood and {COLOURS} colours: calm|quiet,#2f4858 …")
    return PaletteData(moods, str(path) if config.data else "palettes.csv of muserve-example-palette")


def _grouped(rows: Sequence[Mapping[str, str]], path: Path) -> dict[tuple[str, ...], NDArray[np.float32]]:
    groups: dict[tuple[str, ...], list[NDArray[np.float32]]] = {}
    for words, palette in _read(rows, path):
        groups.setdefault(words, []).append(palette)
    for words, palettes in groups.items():
        if len(palettes) < _MIN_PALETTES:
            raise DataError(f"{path}: {words[0]!r} has {len(palettes)} palettes; each mood needs {_MIN_PALETTES}")
    return {words: np.stack(palettes) for words, palettes in groups.items()}


def _read(rows: Sequence[Mapping[str, str]], path: Path) -> Iterator[tuple[tuple[str, ...], NDArray[np.float32]]]:
    for number, row in enumerate(rows, start=2):
        try:
            words, palette = tuple(row["mood"].split("|")), from_hex(row["colours"].split())
        except (KeyError, ValueError, AttributeError, IndexError) as error:
            raise DataError(f"{path}, line {number}: {dict(row)} is no mood with colours such as #2f4858") from error
        if len(palette) != COLOURS:
            raise DataError(f"{path}, line {number}: {len(palette)} colours; a palette has {COLOURS}")
        yield words, palette[np.argsort(palette[:, 0], kind="stable")]
