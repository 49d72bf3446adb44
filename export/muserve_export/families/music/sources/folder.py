"""The folder of the music data: its MIDI files by style, its split, and where it says that they come from."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Mapping
from pathlib import Path

from muserve.v1 import manifest_pb2
from muserve_export.errors import DataError
from muserve_export.families.music.config import COLLECTED, MusicConfig

__all__ = ["data_folder", "describe_sources", "find_files", "split_names"]

_SUFFIXES = (".mid", ".midi")
_VALIDATION, _TEST = 0.1, 0.2
_FEWEST_TO_SPLIT = 3


def data_folder(config: MusicConfig) -> Path:
    """Returns the folder of the data.

    Raises:
        DataError: There is none.
    """
    folder = Path(config.data or COLLECTED)
    if not folder.is_dir():
        hint = "give a folder with a folder of MIDI files a style" if config.data else "run: muserve-export data music"
        raise DataError(f"data is {str(folder)!r}, which is no folder; {hint}")
    return folder


def find_files(folder: Path) -> tuple[list[tuple[Path, int]], tuple[str, ...]]:
    """Finds the MIDI files of each style's folder: paths with the index of their style, and the styles' names.

    Raises:
        DataError: There is no folder of a style, or one without files.
    """
    styles = sorted((path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"), key=str)
    if not styles:
        raise DataError(
            f"{folder} has no folders; put the MIDI files of each style into a folder named after the style"
        )
    files = []
    for index, style in enumerate(styles):
        found = sorted(
            (path for path in style.rglob("*") if path.suffix.lower() in _SUFFIXES and not path.name.startswith(".")),
            key=lambda path: path.relative_to(folder).as_posix(),
        )
        if not found:
            raise DataError(f"{style} has no MIDI files; allowed: {', '.join(_SUFFIXES)}")
        files += [(path, index) for path in found]
    return files, tuple(style.name for style in styles)


def split_names(styles: Mapping[str, Collection[int]], seed: int) -> dict[str, str]:
    """Puts a fifth of the pieces into test and a tenth into validation, among those that have the same styles alike.

    Args:
        styles: Each piece's name and the styles that it is there in.
        seed: Another seed, another split.

    Returns:
        Name to "training", "validation" or "test".
    """
    strata: dict[tuple[int, ...], list[str]] = {}
    for name, own in styles.items():
        strata.setdefault(tuple(sorted(own)), []).append(name)
    part_of: dict[str, str] = {}
    for names in strata.values():
        names.sort(key=lambda name: hashlib.sha256(f"{seed}\0{name}".encode()).hexdigest())
        test, validation = round(len(names) * _TEST), round(len(names) * _VALIDATION)
        if len(names) >= _FEWEST_TO_SPLIT:
            test, validation = max(1, test), max(1, validation)
        for index, name in enumerate(names):
            part_of[name] = "test" if index < test else "validation" if index < test + validation else "training"
    return part_of


def describe_sources(folder: Path, split: str) -> tuple[manifest_pb2.TrainingData, ...]:
    """Says where a data folder's files come from: what `muserve-export data music` wrote, or that they are the user's.

    Args:
        folder: The folder.
        split: How it was split.

    Raises:
        DataError: What was written cannot be read.
    """
    described = folder / "sources.json"
    if not described.exists():
        source = manifest_pb2.TrainingData(
            name=f"MIDI files in {folder.name}",
            origin=f"the user's folder {folder.name}",
            licence="as the user has them",
            split=split,
        )
        return (source,)
    try:
        entries = json.loads(described.read_text(encoding="utf-8"))
        return tuple(
            manifest_pb2.TrainingData(
                name=f"{entry['name']} ({entry['kind']}; styles {', '.join(entry['styles'])})",
                origin=entry["origin"],
                licence=entry["licence"],
                split=split,
            )
            for entry in entries
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise DataError(f"{described}: not what `muserve-export data music` writes ({error}); make it anew") from error
