"""The music family: a MuseGAN, several instruments that listen to each other."""

from muserve_export.families.family import Family
from muserve_export.families.music.config import MusicConfig
from muserve_export.families.music.evaluate import evaluate_music
from muserve_export.families.music.export import export_music
from muserve_export.families.music.sources import collect_music
from muserve_export.families.music.train import train_music

__all__ = ["FAMILY"]

FAMILY = Family(
    "music",
    MusicConfig,
    train=train_music,
    export=export_music,
    evaluate=evaluate_music,
    collect=collect_music,
    has_details=True,
)
