"""Texts from files or standard input."""

from __future__ import annotations

import sys
from pathlib import Path

from muserve.configuration import ConfigurationError

__all__ = ["read_text"]


def read_text(path: Path) -> str:
    """Reads a text; "-" is standard input.

    Raises:
        ConfigurationError: It is not UTF-8.
        OSError: It cannot be read.
    """
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ConfigurationError(f"{path} is not UTF-8 ({error}); save it as UTF-8") from error
