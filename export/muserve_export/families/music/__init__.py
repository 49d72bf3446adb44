"""The music family: a MuseGAN, several instruments that listen to each other."""

from muserve_export.families.family import FamilyPackage
from muserve_export.families.music.config import MusicConfig

__all__ = ["FAMILY"]

FAMILY = FamilyPackage(
    "music",
    "a MuseGAN that writes and accompanies music: the bundled styles, or your own MIDI files",
    MusicConfig,
    __name__,
    sources="WADs, Debian packages of freedoom and mma, or folders that hold these; or the word music21, for the "
    "scores in that package",
    has_details=True,
    baselines={"dense": "muserve_export.families.music_tutorial"},
)
