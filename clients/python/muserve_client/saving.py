"""Puts bytes into files so that no reader ever sees half of one."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

__all__ = ["write_file"]


def write_file(path: str | os.PathLike[str], content: bytes) -> Path:
    """Writes a file in one step, and the folders above it where they are missing.

    Args:
        path: Where to. An existing file is replaced.
        content: All of it.

    Returns:
        The path.

    Raises:
        OSError: It cannot be written; what was there before is untouched.
    """
    target = Path(path)
    if target.is_dir():
        raise IsADirectoryError(f"{target} is a folder; give the path of a file")
    target.parent.mkdir(parents=True, exist_ok=True)
    part = target.with_name(f".{target.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(content)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)
    return target
