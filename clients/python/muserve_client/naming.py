"""Names the files of an answer that has several parts: by a folder, by a pattern, or by the path of the only one."""

from __future__ import annotations

import os
import re
import string
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

__all__ = ["is_file", "is_pattern", "name_files"]

_UNSAFE = re.compile(r"[^\w.-]+")


def name_files(
    where: str | os.PathLike[str],
    parts: Sequence[Mapping[str, Any]],
    *,
    endings: Sequence[str],
    default: str,
    remedy: str,
) -> list[Path]:
    """Names a file for each part.

    Args:
        where: A folder; or a pattern such as "out/{label}-{sample}.png"; or the path of the file of a single part.
        parts: Of each, the fields that a pattern may have.
        endings: How files end, in lower case: [".png"]. Other paths are folders.
        default: The pattern of names in a folder.
        remedy: What to do about parts that get the same path.

    Returns:
        The paths, in the order of the parts.

    Raises:
        ValueError: The pattern has an unknown field, or gives two parts the same path.
    """
    pattern = os.fspath(where)
    if not is_pattern(where) and not is_file(where, endings):
        pattern = str(Path(pattern) / default)
    paths = [_path(pattern, part) for part in parts]
    if len(set(paths)) < len(paths):
        raise ValueError(f"{os.fspath(where)!r} gives {len(parts)} files the same path; {remedy}")
    return paths


def is_file(where: str | os.PathLike[str], endings: Sequence[str]) -> bool:
    """Whether a path without fields names a file, not a folder."""
    return Path(where).suffix.lower() in endings and not Path(where).is_dir()


def is_pattern(where: str | os.PathLike[str]) -> bool:
    """Whether a path has fields in braces.

    Raises:
        ValueError: It has a brace alone.
    """
    return bool(_field_names(os.fspath(where)))


def _path(pattern: str, part: Mapping[str, Any]) -> Path:
    for name in _field_names(pattern):
        if name not in part:
            raise ValueError(f"{pattern!r} has the field {name!r}; allowed: {', '.join(part)}")
    return Path(pattern.format(**{name: _safe(value) for name, value in part.items()}))


def _field_names(pattern: str) -> list[str]:
    return [name for _, name, _, _ in string.Formatter().parse(pattern) if name is not None]


def _safe(value: Any) -> Any:
    """Makes a server's text safe as part of a file's name."""
    return _UNSAFE.sub("_", value).strip(".") if isinstance(value, str) else value
