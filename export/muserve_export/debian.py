"""Debian packages without root: fetched with apt, and unpacked anywhere."""

from __future__ import annotations

import io
import shutil
import subprocess
import tarfile
from pathlib import Path

from muserve_export.errors import DataError

__all__ = ["fetch_package", "unpack_package"]

_TIMEOUT_S = 600
_MAGIC = b"!<arch>\n"
_ENTRY_SIZE = 60


def fetch_package(name: str, folder: Path) -> Path:
    """Downloads a package with `apt-get download`, which needs no root.

    Args:
        name: The package's name.
        folder: Where to put it.

    Returns:
        The .deb.

    Raises:
        DataError: There is no apt, or it cannot fetch the package; says how to get it otherwise.
    """
    advice = (
        f"fetch the Debian package {name} elsewhere (https://packages.debian.org/{name}, 'Download {name}') and pass "
        f"the file: --source PATH/TO/{name}.deb"
    )
    if not (program := shutil.which("apt-get")):
        raise DataError(f"{name}: this system has no apt-get to download it with; {advice}")
    command = [program, "download", "-q", name]
    try:
        done = subprocess.run(  # noqa: S603 - our own command
            command, cwd=folder, capture_output=True, text=True, timeout=_TIMEOUT_S, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        raise DataError(f"{name}: apt-get download failed ({error}); {advice}") from error
    found = sorted(folder.glob(f"{name}_*.deb"))
    if done.returncode or not found:
        said = " ".join(done.stderr.split())[-300:]
        raise DataError(
            f"{name}: apt-get download failed; it says: {said or 'nothing'}. Refresh its lists (apt-get update) and "
            f"try again, or {advice}"
        )
    return found[-1]


def unpack_package(path: Path, folder: Path) -> None:
    """Unpacks the files of a .deb; nothing that it holds is run.

    Args:
        path: The .deb.
        folder: Where to put them; nothing is written outside of it.

    Raises:
        DataError: It is no .deb, or a damaged one.
    """
    name, content = _data_member(path)
    try:
        with tarfile.open(fileobj=io.BytesIO(content)) as archive:
            archive.extractall(folder, filter="data")
    except (tarfile.TarError, OSError, EOFError, ValueError) as error:
        raise DataError(f"{path}: {name} cannot be unpacked ({error}); fetch the package again") from error


def _data_member(path: Path) -> tuple[str, bytes]:
    """The tar inside the ar archive that a .deb is."""
    content = path.read_bytes()
    if not content.startswith(_MAGIC):
        raise DataError(f"{path}: is no Debian package; it begins with {content[:8]!r}, a package with {_MAGIC!r}")
    position = len(_MAGIC)
    while position + _ENTRY_SIZE <= len(content):
        header = content[position : position + _ENTRY_SIZE]
        name, size = header[:16].decode("ascii", "replace").strip().rstrip("/"), header[48:58].strip()
        position += _ENTRY_SIZE
        if not size.isdigit() or position + int(size) > len(content):
            break
        if name.startswith("data.tar"):
            return name, content[position : position + int(size)]
        position += int(size) + int(size) % 2
    raise DataError(f"{path}: is cut off or damaged; its files (data.tar) were not found. Fetch the package again")
