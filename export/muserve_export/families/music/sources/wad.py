"""The MIDI lumps of a WAD, the archive of Doom-like games."""

from __future__ import annotations

import struct
from pathlib import Path

from muserve_export.errors import DataError

__all__ = ["midi_lumps"]

_HEADER = struct.Struct("<4sii")
_ENTRY = struct.Struct("<ii8s")


def midi_lumps(path: Path) -> dict[str, bytes]:
    """Reads all lumps that are MIDI files, known by their first four bytes and not by their names.

    Returns:
        Name, in lower case, to bytes, in the order of the directory; of two lumps with one name the later, as in the
        game.

    Raises:
        DataError: It is no WAD, or a damaged one.
    """
    content = path.read_bytes()
    if len(content) < _HEADER.size:
        raise DataError(f"{path}: {len(content)} bytes are no WAD; its header alone has {_HEADER.size}")
    kind, count, start = _HEADER.unpack_from(content)
    if kind not in (b"IWAD", b"PWAD"):
        raise DataError(f"{path}: begins with {kind!r}; a WAD begins with IWAD or PWAD")
    if count < 0 or start < 0 or start + count * _ENTRY.size > len(content):
        raise DataError(
            f"{path}: its directory of {count} lumps at byte {start} lies outside of its {len(content)} bytes; "
            f"the file is cut off or damaged: fetch it again"
        )
    found = {}
    for offset, size, raw in _ENTRY.iter_unpack(content[start : start + count * _ENTRY.size]):
        name = raw.split(b"\0")[0].decode("ascii", "replace").lower()
        if offset < 0 or size < 0 or offset + size > len(content):
            raise DataError(
                f"{path}: lump {name} has {size} bytes at {offset}, outside of the file; the file is cut off or "
                f"damaged: fetch it again"
            )
        if content[offset : offset + 4] == b"MThd" and size >= 14:
            found[name] = content[offset : offset + size]
    return found
