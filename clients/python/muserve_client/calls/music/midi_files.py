"""The bytes of a MIDI file, from whatever people hold."""

from __future__ import annotations

import io
import sys
from typing import Any

from muserve_client.calls.music.result import Music, Piece
from muserve_client.contents import content_of
from muserve_client.fields import Fields

__all__ = ["midi_bytes"]

_ALLOWED_MIDI = "a path, the bytes of a file, a binary file object, a piece, or a mido.MidiFile"


def midi_bytes(fields: Fields, midi: Any) -> bytes:
    """Takes the content of a MIDI file in any form in which people hold one."""
    if isinstance(midi, Music) and len(midi) == 1:
        midi = midi[0]
    if isinstance(midi, Piece):
        return midi.midi
    mido = sys.modules.get("mido")  # whoever has such a file has imported it
    if mido is not None and isinstance(midi, mido.MidiFile):
        return _written(fields, midi)
    content = content_of(midi)
    if content is not None:
        return content
    what = f"{len(midi)} pieces" if isinstance(midi, Music) else f"of the type {type(midi).__name__}"
    fields.refuse("midi", f"is {what}; allowed: {_ALLOWED_MIDI}")
    return b""


def _written(fields: Fields, midi: Any) -> bytes:
    """Writes a mido.MidiFile."""
    content = io.BytesIO()
    try:
        midi.save(file=content)
    except (AttributeError, TypeError, ValueError) as error:  # what mido raises for a file that is put together wrongly
        fields.refuse("midi", f"cannot be written by mido: {error}")
    return content.getvalue()
