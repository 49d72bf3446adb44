"""Finds bundles in the models folders: <folder>/<name>/<version>, with the signatures of their files. It reads none."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from muserve.configuration import ConfigurationError

__all__ = ["Found", "Key", "ModelFolders", "Signature"]

logger = logging.getLogger(__name__)

Key = tuple[str, int]
"""Name and version of a bundle's folder."""

Signature = tuple[tuple[str, int, int], ...]
"""Names, sizes and times of a bundle's files."""

Found = dict[Key, tuple[Path, Signature]]

_MAX_VERSION = 2**32 - 1


class ModelFolders:
    """The folders that a server was given."""

    def __init__(self, folders: Sequence[Path]) -> None:
        """Stores its parts.

        Args:
            folders: Each holds <name>/<version>/manifest.json. Where two hold the same, the first one counts.
        """
        self._folders = folders
        self._hidden: set[Path] = set()

    def __str__(self) -> str:
        return " and ".join(map(str, self._folders))

    def find(self) -> Found:
        """Lists the bundles. It takes a while where folders are on a slow disk.

        Raises:
            ConfigurationError: A folder cannot be read.
        """
        try:
            return self._find_all()
        except OSError as error:
            raise ConfigurationError(
                f"models is {error.filename}, which cannot be read ({error.strerror}); set it to a folder of bundles, "
                "or install those that come with Muserve: pip install muserve-models"
            ) from error

    def _find_all(self) -> Found:
        found: Found = {}
        for folder in self._folders:
            for key, (path, signature) in _find(folder).items():
                first, _ = found.setdefault(key, (path, signature))
                if first != path and path not in self._hidden:
                    self._hidden.add(path)
                    extra = {"path": str(path), "first": str(first)}
                    logger.warning("bundle passed over: another has its name and version", extra=extra)
        return found


def _find(folder: Path) -> Found:
    """Lists the <name>/<version> of one folder. Hidden folders are copies in the making."""
    found: Found = {}
    for name in folder.iterdir():
        if name.name.startswith(".") or not name.name.isprintable() or not name.is_dir():
            continue
        try:
            versions = list(name.iterdir())
        except FileNotFoundError:
            continue  # being removed; the next look sees it gone
        for path in versions:
            version = int(path.name) if path.name.isdecimal() else -1
            if str(version) == path.name and 0 <= version <= _MAX_VERSION and path.is_dir():
                found[name.name, version] = (path, _signature(path))
    return found


def _signature(folder: Path) -> Signature:
    rows = []
    for path in sorted(folder.rglob("*")):
        try:
            stat = path.stat()
        except OSError:  # being removed, or a link to nowhere; verification says what is missing
            continue
        rows.append((path.relative_to(folder).as_posix(), stat.st_size, stat.st_mtime_ns))
    return (("", 0, 0), *rows)
