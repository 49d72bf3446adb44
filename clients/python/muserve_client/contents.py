"""The content of a file, in any of the forms in which people hold one."""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any

__all__ = ["content_of"]


def content_of(file: Any) -> bytes | None:
    """Returns the bytes of a path, of bytes, or of a binary file object; None for anything else.

    Raises:
        OSError: A file cannot be read.
    """
    if isinstance(file, bytes | bytearray | memoryview):
        return bytes(file)
    if isinstance(file, str | os.PathLike):
        return Path(file).read_bytes()
    if hasattr(file, "read") and not isinstance(file, io.TextIOBase):
        content = file.read()
        return content if isinstance(content, bytes) else None
    return None
