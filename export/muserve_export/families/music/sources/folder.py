"""The data folder: MIDI files by style, their split, and their origin."""

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
_MIN_TO_SPLIT = 3


def data_folder(config: MusicConfig) -> Path:
    """Returns the folder of the data.

    Raises:
        DataError: There is none.
    """
    folder = Path(config.data or COLLECTED)
    if not folder.is_dir():
        hint = (
            "give a folder with one folder of MIDI files per style" if config.data else "run: muserve-export data music"
        )
        raise DataError(f"data is {str(folder)!r}, which is not a folder; {hint}")
    return folder


def find_files(folder: Path) -> tuple[list[tuple[Path, int]], tuple[str, ...]]:
    """Returns the MIDI files with the index of their style, and the names of the styles.

    Raises:
        DataError: There is no folder of a style, or one without files.
    """
    styles = sorted((path for path in folder.iterdir() if path.is_dir() and path.name[0] not in "._"), key=str)
    if not styles:
        raise DataError(f"{folder} has no subfolders; put the MIDI files of each style into a folder named after it")
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
    """Splits pieces: a fifth for test and a tenth for validation, stratified by the styles that they occur in.

    Args:
        styles: The styles that each piece occurs in, by its name.
        seed: Seed of the split.

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
        if len(names) >= _MIN_TO_SPLIT:
            test, validation = max(1, test), max(1, validation)
        for index, name in enumerate(names):
            part_of[name] = "test" if index < test else "validation" if index < test + validation else "training"
    return part_of


def describe_sources(folder: Path, split: str) -> tuple[manifest_pb2.TrainingData, ...]:
    """Describes the origin of a data folder's files: as `muserve-export data music` recorded it, or as the user's.

    Args:
        folder: The folder.
        split: Description of the split.

    Raises:
        DataError: The record cannot be read.
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
        raise DataError(
            f"{described} is not as `muserve-export data music` writes it ({error}); create it again"
        ) from error
