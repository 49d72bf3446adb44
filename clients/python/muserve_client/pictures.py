"""A PNG file of an answer: saved, shown, decoded, and asked how it was made."""

from __future__ import annotations

import io
import json
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from muserve_client.saving import write_file

if TYPE_CHECKING:
    import numpy as np
    import PIL.Image
    from numpy.typing import NDArray

__all__ = ["Picture", "read_picture"]

_SIGNATURE = b"\x89PNG\r\n\x1a\n"
_TEXT_KEY = b"muserve\0"
_SIZE = slice(16, 24)  # PNG specification, 11.2.2: width and height of IHDR, which comes first


@dataclass(frozen=True)
class Picture:
    """One PNG."""

    png: bytes = field(repr=False)
    """The file's content."""
    width: int
    """Pixels."""
    height: int
    """Pixels."""

    @property
    def facts(self) -> dict[str, Any]:
        """What the file says of its making: model, version, digest and more. Empty if it says nothing."""
        return _read_facts(self.png)

    def save(self, path: str | os.PathLike[str]) -> Path:
        """Writes the PNG file in one step, and missing folders above it.

        Returns:
            The path.

        Raises:
            OSError: It cannot be written.
        """
        return write_file(path, self.png)

    def to_pil(self) -> PIL.Image.Image:
        """Decodes the image for Pillow.

        Raises:
            ModuleNotFoundError: Pillow is not installed.
        """
        return self._decode("to_pil")

    def to_numpy(self) -> NDArray[np.uint8]:
        """Decodes the image into an array, [height, width] or [height, width, channel].

        Raises:
            ModuleNotFoundError: NumPy or Pillow is not installed.
        """
        try:
            import numpy as np
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(
                "to_numpy needs NumPy and Pillow, of which one is not installed: pip install numpy pillow"
            ) from error
        return np.array(self._decode("to_numpy"))

    def _decode(self, what: str) -> PIL.Image.Image:
        try:
            import PIL.Image
        except ModuleNotFoundError as error:
            raise ModuleNotFoundError(f"{what} needs Pillow, which is not installed: pip install pillow") from error
        image = PIL.Image.open(io.BytesIO(self.png))
        image.load()
        return image

    def _repr_png_(self) -> bytes:
        return self.png


def read_picture(png: bytes) -> Picture:
    """Returns a PNG of whatever size its header says."""
    width, height = (int.from_bytes(png[_SIZE][part : part + 4], "big") for part in (0, 4))
    return Picture(png, width, height)


def _read_facts(png: bytes) -> dict[str, Any]:
    """Finds the text chunk "muserve" of a PNG (PNG specification, 11.3.3) and reads its JSON."""
    position = len(_SIGNATURE)
    while png.startswith(_SIGNATURE) and position + 8 <= len(png):
        length = int.from_bytes(png[position : position + 4], "big")
        kind, content = png[position + 4 : position + 8], png[position + 8 : position + 8 + length]
        if kind == b"tEXt" and content.startswith(_TEXT_KEY):
            try:
                facts = json.loads(content.removeprefix(_TEXT_KEY).decode("latin-1"))
            except ValueError:
                return {}
            return facts if isinstance(facts, dict) else {}
        position += length + 12  # length, type and checksum take four bytes each
    return {}
