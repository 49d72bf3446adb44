"""Debian packages made by hand."""

from __future__ import annotations

import io
import tarfile

__all__ = ["deb"]


def deb(files: dict[str, bytes]) -> bytes:
    """Packs files as a .deb."""
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:xz") as archive:
        for name, content in files.items():
            entry = tarfile.TarInfo(f"./{name}")
            entry.size = len(content)
            archive.addfile(entry, io.BytesIO(content))
    result = b"!<arch>\n"
    # The control part has an odd length here, so that the padding counts.
    for name, content in (("debian-binary", b"2.0\n"), ("control.tar.xz", b"odd"), ("data.tar.xz", packed.getvalue())):
        result += f"{name:<16}{0:<12}{0:<6}{0:<6}{100644:<8}{len(content):<10}`\n".encode()
        result += content + b"\n" * (len(content) % 2)
    return result
